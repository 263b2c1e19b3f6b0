import { expect, it, vi } from 'vitest';
import { systemClock } from '../../shared/clock.ts';
import { createGrips, type DepartureBook } from '../../shared/delivery/grip.ts';
import { mintMessageId, type MessageId } from '../../shared/identifier.ts';

const dayMs = 86_400_000;
const noonMs = Date.UTC(2026, 4, 4, 12);
const idOfTime = (unixMs: number): MessageId => mintMessageId({ setNumber: 1, shard: 0 }, unixMs);

/** Of a SET that something left at noon, and that has everything back in its queues. */
function openGrips() {
  const departed = vi.fn<DepartureBook['departed']>(async (ids) => new Set(ids));
  const footing = async () => ({ tenure: { state: 'serving', epoch: 2 }, lastLeftAtMs: noonMs }) as const;
  const book: DepartureBook = { footing, departed };
  return {
    departed,
    grips: createGrips({ set: 'hangzhou', books: [book], clock: systemClock, knownForMs: 10_000 }),
  };
}

it.each([
  ['of before the departure', noonMs - 1],
  ['of later that day, as keyed publishes of before have them', noonMs + 11 * 3_600_000],
])('looks up whether a message has left that has an id %s', async (_when, unixMs) => {
  const { grips } = openGrips();
  expect(await grips.take(idOfTime(unixMs))).toBe('gone');
});

it('asks nothing about messages of the days after the departure', async () => {
  const { grips, departed } = openGrips();
  const grip = await grips.take(idOfTime(noonMs + dayMs));
  expect(grip).not.toBe('gone');
  expect(departed).not.toHaveBeenCalled();
});
