import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, it } from 'vitest';
import { jobsOf, schedule } from '../../scheduled/schedule.ts';

const repoDir = path.resolve(import.meta.dirname, '../..');

it('wrangler.toml asks for exactly the crons of the schedule', async () => {
  const text = await readFile(path.join(repoDir, 'wrangler.toml'), 'utf8');
  const [, list] = /^crons = (\[.*\])$/m.exec(text) ?? [];
  expect(JSON.parse(list ?? 'null')).toEqual(schedule.map(({ cron }) => cron));
});

it('every job is run by one expression, and every expression runs something', () => {
  const names = schedule.flatMap(({ cron }) => jobsOf(cron).map(({ name }) => name));
  expect(names.toSorted((a, b) => a.localeCompare(b))).toEqual([
    'assemble-sequences',
    'audit',
    'check-transactions',
    'end-copies',
    'fetch',
    'move-buckets',
    'probe-sets',
    'prune',
    'reconcile-topology',
    'redeliver',
    'relay-outbox',
    'release-delayed',
    'replicate',
    'republish',
    'run-schedules',
    'take-over',
  ]);
  expect(jobsOf('0 0 * * *')).toEqual([]);
});
