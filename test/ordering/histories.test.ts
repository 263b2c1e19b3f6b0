/**
 * Random histories against ordered delivery on a real Postgres: publishes, copies of the broker that come late, twice,
 * in any order or never, workers that die at any step, leases that end under a worker, webhooks that fail.
 *
 * What is allowed: an item has its effect only when everything before it in its lane or sequence has had its own, or is
 * dead. In the end every item has had its effect or is dead, and without crashes and lost leases each was called once
 * more than it failed. A failing seed is printed, and kept in failing-seeds.json, whose seeds run first.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { createNeonBridge } from '../../functions/node/neon-bridge.ts';
import { configureDatabases, openDatabase, type Sql } from '../../shared/store/database.ts';
import { migrate } from '../../shared/store/migrate.ts';
import { openStore } from '../../shared/store/postgres-store.ts';
import { useStack } from '../stack/current-stack.ts';
import { openWorld, type Step } from './ordered-world.ts';

const seedsFile = path.join(import.meta.dirname, 'failing-seeds.json');
const worker = fc.constantFrom(0, 1);
const answers = fc.array(
  fc.oneof(
    { weight: 8, arbitrary: fc.constant('done' as const) },
    { weight: 2, arbitrary: fc.constant('retry' as const) },
    { weight: 1, arbitrary: fc.constant('dead' as const) },
  ),
  { maxLength: 20 },
);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ does: fc.constant('publish' as const), lane: fc.nat(2) }) },
  {
    weight: 1,
    arbitrary: fc.record({ does: fc.constant('sequence' as const), size: fc.integer({ min: 1, max: 4 }) }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      does: fc.constant('arrive' as const),
      pick: fc.nat(),
      worker,
      times: fc.constantFrom(1, 2),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      does: fc.constant('work' as const),
      worker,
      ends: fc.constantFrom('awaited', 'beside'),
    }),
  },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('leases end' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ does: fc.constant('crash' as const), worker, afterCalls: fc.nat(6) }),
  },
);
const history = fc.record({ steps: fc.array(step, { minLength: 5, maxLength: 40 }), answers });

describe('ordered delivery', () => {
  let sql: Sql;

  beforeAll(async () => {
    configureDatabases({ fetch: createNeonBridge().fetch, timeoutMs: 10_000 });
    const corner = await useStack().createCorner('histories');
    sql = openDatabase(corner.postgresUrl);
    await migrate(sql);
  });

  const property = fc.asyncProperty(history, async (given) => {
    const world = openWorld(sql, openStore(sql), given.answers);
    for (const each of given.steps) await world.take(each);
    await world.settle();
    const doubled = world.disturbances === 0 ? world.doubled() : [];
    const faults = [...world.violations, ...(await world.undecided()), ...doubled];
    if (faults.length > 0) throw new Error(faults.join('\n'));
  });

  it('keeps its order in every history', async () => {
    const kept = JSON.parse(readFileSync(seedsFile, 'utf8')) as readonly { seed: number; path: string }[];
    for (const again of kept) await fc.assert(property, again);
    const result = await fc.check(property, { numRuns: 40, endOnFailure: true });
    if (result.failed) {
      const failing = { seed: result.seed, path: result.counterexamplePath };
      writeFileSync(seedsFile, `${JSON.stringify([...kept, failing], undefined, 2)}\n`);
    }
    expect(result.failed ? fc.defaultReportMessage(result) : 'held').toBe('held');
  }, 180_000);
});
