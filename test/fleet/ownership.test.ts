/**
 * Random histories of moves, crashes and stale edges against the ownership of buckets. In none of them do two SETs have
 * the same lane to deliver at once, is an accepted message lost, or a lane delivered in another order than accepted.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openOwnershipWorld, type Step } from './ownership-world.ts';

/** Run each time: histories that were looked at one by one. */
const keptSeeds = [7, 41, 20_261_121];
const runs = 100;

const lane = fc.nat(1);
const set = fc.nat(2);
const edge = fc.nat(1);
const mover = fc.nat(1);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ does: fc.constant('publish' as const), edge, lane }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('refresh' as const), edge }) },
  { weight: 5, arbitrary: fc.record({ does: fc.constantFrom('begin' as const, 'end' as const), set, lane }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('crash host' as const), set }) },
  {
    weight: 4,
    arbitrary: fc.record({
      does: fc.constant('move' as const),
      mover,
      lane,
      target: set,
      patience: fc.constantFrom(0, 50, 1_000_000, 1_000_000),
    }),
  },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('resume' as const), mover }) },
  {
    weight: 9,
    arbitrary: fc.record({
      does: fc.constant('advance' as const),
      mover,
      // One may go all the way while the other stands still.
      times: fc.constantFrom(1, 2, 5, 30),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      does: fc.constant('kill' as const),
      mover,
      when: fc.constantFrom('before' as const, 'after' as const),
    }),
  },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('wait' as const), ms: fc.constantFrom(10, 100) }) },
);

/** The same, with SETs that are taken over and come back. */
const stepOfLoss: fc.Arbitrary<Step> = fc.oneof(
  { weight: 29, arbitrary: step },
  { weight: 4, arbitrary: fc.record({ does: fc.constant('take over' as const), mover, set }) },
  { weight: 2, arbitrary: fc.record({ does: fc.constant('come back' as const), mover, set }) },
);

interface Lived {
  /** Changes of owners. */
  changes: number;
  aborted: number;
}

async function live(steps: fc.Arbitrary<Step>, seed: number | undefined): Promise<Lived> {
  const lived: Lived = { changes: 0, aborted: 0 };
  const history = fc.array(steps, { minLength: 40, maxLength: 250 });
  const property = fc.asyncProperty(history, async (given) => {
    const world = openOwnershipWorld();
    for (const each of given) await world.take(each);
    lived.aborted += world.moves().filter(({ state }) => state === 'aborting').length;
    await world.settle();
    lived.changes += world.changes();
    expect(world.violations).toEqual([]);
    expect(Object.fromEntries(world.effects)).toEqual(Object.fromEntries(world.accepted));
  });
  await fc.assert(property, { numRuns: runs, ...(seed === undefined ? {} : { seed }) });
  return lived;
}

describe('the ownership of buckets', () => {
  it.each([...keptSeeds, undefined])('holds in every history (seed %s)', async (seed) => {
    const { changes, aborted } = await live(step, seed);
    // The histories are worth something.
    expect(changes).toBeGreaterThan(runs / 2);
    expect(aborted).toBeGreaterThan(0);
  });

  it.each([1, 2])('holds while SETs are lost, taken over and come back (seed %s)', async (seed) => {
    const { changes } = await live(stepOfLoss, seed);
    expect(changes).toBeGreaterThan(runs / 2);
  });
});
