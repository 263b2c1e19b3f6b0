/** A host that dies around a tick: the next one goes on, and the tick has one message, once. */
import { describe, expect, test } from 'vitest';
import { mintScheduleId } from '../../shared/identifier.ts';
import { useStack } from '../stack/current-stack.ts';
import { until } from '../stack/until.ts';
import { liveUntil } from './mortal.ts';
import { groups, openOneSet, set, settled } from './one-set.ts';

const stack = useStack();

const crashes = ['store.claim', 'store.loadSchedules', 'store.commit', 'store.moveSchedules'].flatMap(
  (step) => (['before', 'after'] as const).map((moment) => ({ step, moment })),
);

describe.concurrent('a schedule', () => {
  test.each(crashes)('whose host dies $moment $step publishes its tick once', async ({ step, moment }) => {
    const one = await openOneSet(stack);
    try {
      const id = mintScheduleId({ setNumber: 1, shard: 0 }, Date.now());
      const { message } = one.newOffer();
      const { topic, mode, body, contentType, headers } = message;
      await one.store.createSchedule(set, {
        id,
        owner: 'acme',
        name: null,
        cron: '0 0 1 1 *',
        timeZone: 'UTC',
        missed: 'one',
        message: { topic, mode, body, contentType, headers },
      });
      // The last tick was missed.
      await one.sql`UPDATE schedule SET next_at = date_trunc('year', now())`;
      const life = liveUntil({ step, moment });
      one.start({ life });
      await life.over;
      one.start();
      const record = await until(20_000, async () => {
        const found = await one.store.findSchedule(id);
        return found?.lastRuns.length === 1 && found;
      });
      const rows = await one.sql`SELECT count(*)::int AS count FROM message`;
      expect(rows).toEqual([{ count: 1 }]);
      const [run] = record.lastRuns;
      if (!run) throw new Error('It never ran.');
      await one.store.changeSchedule(set, { id, owner: 'acme', change: 'pause' });
      await settled(one, [run.message]);
      expect(groups.map((group) => one.effects.get(`${group}/${run.message}`))).toEqual([1, 1]);
    } finally {
      await one.close();
    }
  });
});
