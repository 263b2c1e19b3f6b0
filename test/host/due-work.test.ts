import { describe, expect, it } from 'vitest';
import type { AgendaKind, DueEntry } from '../../shared/agenda/agenda.ts';
import { createDueWork, type DueHandler } from '../../shared/host/due-work.ts';
import type { Store } from '../../shared/store/store.ts';
import { createTelemetry } from '../../shared/telemetry.ts';
import { FakeClock } from '../consumer/fake-clock.ts';

/** Moves the clock once what is due now has been claimed. */
async function pass(clock: FakeClock, ms: number): Promise<void> {
  await new Promise(setImmediate);
  await clock.move(ms);
}

const stay = { maxMs: 55_000, maxItems: 1_000, whenDry: 'stay' } as const;

/** A SET's due work over an agenda that lists when its entries fall due. */
function open(dueAfterMs: readonly number[]) {
  const clock = new FakeClock();
  const beginMs = clock.nowMs();
  const handledAfterMs: number[] = [];
  let pending = dueAfterMs.map((ms) => beginMs + ms);
  let held: Promise<void> = Promise.resolve();
  const store = {
    async claim(): Promise<readonly DueEntry[]> {
      const due = pending.filter((ms) => ms <= clock.nowMs());
      pending = pending.filter((ms) => ms > clock.nowMs());
      const entry = { token: '1', kind: 'release', refs: [], subscription: null, stream: null } as const;
      return due.map((ms) => ({ ...entry, entry: String(ms), attempts: 0, lateMs: 0 }));
    },
    async nextDueInMs(): Promise<number | undefined> {
      const [next] = pending.toSorted((a, b) => a - b);
      return next === undefined ? undefined : next - clock.nowMs();
    },
  } as unknown as Store;
  const handler: DueHandler = {
    capacity: 100,
    leaseMs: () => 60_000,
    isReady: () => true,
    async handle(_store, entries) {
      await held;
      handledAfterMs.push(...entries.map(() => clock.nowMs() - beginMs));
    },
  };
  const handlers = { release: handler } as unknown as Record<AgendaKind, DueHandler>;
  const due = createDueWork({
    set: 'hangzhou',
    stores: [store],
    clock,
    telemetry: createTelemetry(),
    handlers,
  });
  return {
    clock,
    due,
    handledAfterMs,
    hold: (): (() => void) => {
      const gate = Promise.withResolvers<void>();
      held = gate.promise;
      return gate.resolve;
    },
  };
}

describe('due work of a host that stays a while', () => {
  it('is handled at its time, until the time of the host is over', async () => {
    const { clock, due, handledAfterMs } = open([0, 20_000, 54_000, 56_000]);
    const visit = due.handle('release', stay);
    for (let second = 0; second < 56; second++) await pass(clock, 1_000);
    await expect(visit).resolves.toBe(3);
    expect(handledAfterMs).toEqual([0, 20_000, 54_000]);
  });

  it('ends at once when the host stops, though more falls due within its time', async () => {
    const { clock, due, handledAfterMs } = open([0, 20_000]);
    const visit = due.handle('release', stay);
    await pass(clock, 1_000);
    await due.stop();
    await expect(visit).resolves.toBe(1);
    expect(handledAfterMs).toEqual([0]);
    await expect(due.handle('release', stay)).resolves.toBe(0);
  });

  it('is waited for by the stop when it is under way', async () => {
    const { clock, due, handledAfterMs, hold } = open([0]);
    const letGo = hold();
    const visit = due.handle('release', stay);
    await pass(clock, 10);
    let isStopped = false;
    const stopping = due.stop().then(() => (isStopped = true));
    await pass(clock, 10);
    expect(isStopped).toBe(false);
    letGo();
    await stopping;
    expect(handledAfterMs).toHaveLength(1);
    await expect(visit).resolves.toBe(1);
  });
});
