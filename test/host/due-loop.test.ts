import { describe, expect, it } from 'vitest';
import type { ClaimOptions, DueEntry } from '../../shared/agenda/agenda.ts';
import { startDueLoop } from '../../shared/host/due-loop.ts';
import type { Store } from '../../shared/store/store.ts';
import { createTelemetry } from '../../shared/telemetry.ts';
import { FakeClock } from '../consumer/fake-clock.ts';

const idleMs = 15_000;

/** An agenda whose entries fall due by the fake clock. */
function open(options: { capacity?: number; isReady?: () => boolean } = {}) {
  const clock = new FakeClock();
  const claims: ClaimOptions[] = [];
  const handled: string[] = [];
  let pending: { readonly id: string; readonly dueMs: number }[] = [];
  let failures = 0;
  let held: Promise<void> = Promise.resolve();
  let answered: Promise<void> = Promise.resolve();
  const store = {
    async claim(asked: ClaimOptions): Promise<readonly DueEntry[]> {
      claims.push(asked);
      if (failures-- > 0) throw new Error('no database');
      const due = pending.filter(({ dueMs }) => dueMs <= clock.nowMs()).slice(0, asked.limit);
      pending = pending.filter((entry) => !due.includes(entry));
      return due.map(({ id }) => ({
        entry: id,
        token: '1',
        kind: 'send',
        refs: [],
        subscription: null,
        stream: null,
        attempts: 0,
        lateMs: 0,
      }));
    },
    async nextDueInMs(): Promise<number | undefined> {
      const next = pending.map(({ dueMs }) => dueMs - clock.nowMs()).toSorted((a, b) => a - b)[0];
      await answered;
      return next;
    },
  } as unknown as Store;
  const loop = startDueLoop({
    set: 'hangzhou',
    store,
    kind: 'send',
    clock,
    telemetry: createTelemetry(),
    capacity: options.capacity ?? 4,
    leaseMs: () => 60_000,
    idleMs,
    isReady: options.isReady ?? (() => true),
    async handle(entries) {
      await held;
      handled.push(...entries.map(({ entry }) => entry));
    },
  });
  const hold = (): (() => void) => {
    const gate = Promise.withResolvers<void>();
    held = gate.promise;
    return gate.resolve;
  };
  /** The database answers late: what was written meanwhile is not in its answer. */
  const delayAnswers = (): (() => void) => {
    const gate = Promise.withResolvers<void>();
    answered = gate.promise;
    return gate.resolve;
  };
  return {
    delayAnswers,
    clock,
    claims,
    handled,
    loop,
    hold,
    write: (id: string, afterMs: number) => void pending.push({ id, dueMs: clock.nowMs() + afterMs }),
    fail: (times: number) => void (failures = times),
  };
}

describe('the clock of due work', () => {
  it('sleeps until the next entry falls due, and is never early', async () => {
    const { clock, handled, write } = open();
    write('later', 5_000);
    await clock.move(4_999);
    expect(handled).toEqual([]);
    await clock.move(1);
    expect(handled).toEqual(['later']);
  });

  it('looks now and then for what others wrote, and at once when it is told', async () => {
    const { clock, handled, write, loop, claims } = open();
    await clock.move(0);
    write('by somebody else', 1_000);
    await clock.move(2_000);
    expect(handled).toEqual([]);
    await clock.move(idleMs);
    expect(handled).toEqual(['by somebody else']);
    write('by this host', 300);
    loop.nudge(300);
    const before = claims.length;
    await clock.move(300);
    expect(handled).toEqual(['by somebody else', 'by this host']);
    expect(claims.length - before).toBeLessThanOrEqual(3);
  });

  it('misses nothing that falls due while the database is slow to answer', async () => {
    const { clock, handled, write, loop, delayAnswers } = open();
    const answer = delayAnswers();
    await clock.move(0);
    write('meanwhile', 100);
    loop.nudge(100);
    await clock.move(1_000);
    answer();
    await new Promise(setImmediate);
    await clock.move(0);
    expect(handled).toEqual(['meanwhile']);
  });

  it('claims no more than it can handle, and goes on when there is room', async () => {
    const { clock, claims, handled, write, hold } = open({ capacity: 2 });
    const release = hold();
    for (const id of ['a', 'b', 'c']) write(id, 0);
    await clock.move(0);
    expect(claims.map(({ limit }) => limit)).toEqual([2]);
    release();
    await new Promise(setImmediate);
    await clock.move(0);
    expect(handled).toEqual(['a', 'b', 'c']);
  });

  it('claims nothing while there is no use in it', async () => {
    let isReady = false;
    const { clock, claims, handled, write, loop } = open({ isReady: () => isReady });
    write('a', 0);
    await clock.move(idleMs * 2);
    expect(claims).toEqual([]);
    isReady = true;
    loop.nudge(0);
    await clock.move(0);
    expect(handled).toEqual(['a']);
  });

  it('tries again after a database that failed', async () => {
    const { clock, handled, write, fail } = open();
    fail(2);
    write('a', 0);
    await clock.move(idleMs * 2);
    expect(handled).toEqual(['a']);
  });

  it('stops when what is under way has ended, and claims no more', async () => {
    const { clock, claims, handled, write, hold, loop } = open();
    const release = hold();
    write('a', 0);
    await clock.move(0);
    let isStopped = false;
    const stopped = loop.stop().then(() => (isStopped = true));
    await new Promise(setImmediate);
    expect(isStopped).toBe(false);
    release();
    await stopped;
    expect(handled).toEqual(['a']);
    const before = claims.length;
    write('b', 0);
    loop.nudge(0);
    await clock.move(idleMs * 3);
    expect(claims).toHaveLength(before);
  });
});
