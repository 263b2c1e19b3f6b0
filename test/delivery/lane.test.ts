import { describe, expect, it } from 'vitest';
import type { Answer, Courier, Dispatch } from '../../shared/delivery/courier.ts';
import type { KeyLeases } from '../../shared/delivery/key-leases.ts';
import type { Gate } from '../../shared/delivery/gate.ts';
import { createLane as openLane, type Lane } from '../../shared/delivery/lane.ts';
import { FakeClock } from '../consumer/fake-clock.ts';

const done: Answer = { verdict: 'done', status: 200, error: null, durationMs: 1 };

function dispatch(attempt: number, priority?: 'high'): Dispatch {
  return { attempt, message: { priority } } as Dispatch;
}

function openCourier(sliceSize: number) {
  const slices: {
    readonly attempts: readonly number[];
    readonly finish: (answers?: readonly Answer[]) => void;
    readonly fail: () => void;
  }[] = [];
  const courier: Courier = {
    sliceSize,
    ask: () => Promise.reject(new Error('not asked')),
    tell: () => Promise.reject(new Error('not asked')),
    carry: (slice) =>
      new Promise((resolve, reject) => {
        slices.push({
          attempts: slice.map(({ attempt }) => attempt),
          finish: (answers) =>
            resolve(answers ?? slice.map(({ attempt }) => ({ ...done, durationMs: attempt }))),
          fail: () => reject(new Error('the courier fell')),
        });
      }),
  };
  return { courier, slices };
}

const openGate: Gate = {
  waitMs: () => 0,
  began: () => undefined,
  ended: () => undefined,
  breaker: 'closed',
};

function createLane(courier: Courier, concurrency: () => number, gate = openGate): Lane {
  return openLane({ courier, clock: new FakeClock(), concurrency, gate, keys: () => undefined });
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('a lane', () => {
  it('has no more calls under way than its subscription allows', async () => {
    const { courier, slices } = openCourier(1);
    const lane = createLane(courier, () => 2);
    const answers = [1, 2, 3].map((attempt) => lane.carry(dispatch(attempt)));
    await turn();
    expect(slices.map(({ attempts }) => attempts)).toEqual([[1], [2]]);
    expect(lane.load).toBe(3);
    slices[1]?.finish();
    await turn();
    expect(slices.map(({ attempts }) => attempts)).toEqual([[1], [2], [3]]);
    slices[0]?.finish();
    slices[2]?.finish();
    expect(await Promise.all(answers)).toMatchObject([1, 2, 3].map((durationMs) => ({ durationMs })));
    expect(lane.load).toBe(0);
  });

  it('begins what has high priority before all that waits, in its own order', async () => {
    const { courier, slices } = openCourier(1);
    const lane = createLane(courier, () => 1);
    for (const attempt of [1, 2, 3]) void lane.carry(dispatch(attempt));
    await turn();
    for (const attempt of [11, 12]) void lane.carry(dispatch(attempt, 'high'));
    for (const index of [0, 1, 2, 3]) {
      slices[index]?.finish();
      await turn();
    }
    expect(slices.map(({ attempts }) => attempts)).toEqual([[1], [11], [12], [2], [3]]);
  });

  it('carries what comes together in slices of the courier’s size', async () => {
    const { courier, slices } = openCourier(3);
    const lane = createLane(courier, () => 5);
    for (const attempt of [1, 2, 3, 4, 5, 6]) void lane.carry(dispatch(attempt));
    await turn();
    expect(slices.map(({ attempts }) => attempts)).toEqual([
      [1, 2, 3],
      [4, 5],
    ]);
  });

  it('asks for the concurrency anew, because a subscription may change', async () => {
    const { courier, slices } = openCourier(1);
    let concurrency = 1;
    const lane = createLane(courier, () => concurrency);
    for (const attempt of [1, 2, 3]) void lane.carry(dispatch(attempt));
    await turn();
    concurrency = 2;
    slices[0]?.finish();
    await turn();
    expect(slices).toHaveLength(3);
  });

  it('rejects the slice of a courier that fails, and goes on', async () => {
    const { courier, slices } = openCourier(1);
    const lane = createLane(courier, () => 1);
    const first = lane.carry(dispatch(1));
    const second = lane.carry(dispatch(2));
    await turn();
    slices[0]?.fail();
    await expect(first).rejects.toThrow('the courier fell');
    await turn();
    slices[1]?.finish();
    expect(await second).toMatchObject({ verdict: 'done' });
  });

  it('rejects a dispatch the courier brought no answer for', async () => {
    const { courier, slices } = openCourier(2);
    const lane = createLane(courier, () => 2);
    const [first, second] = [lane.carry(dispatch(1)), lane.carry(dispatch(2))];
    await turn();
    slices[0]?.finish([done]);
    expect(await first).toEqual(done);
    await expect(second).rejects.toThrow(/fewer answers/);
    expect(lane.load).toBe(0);
  });

  it('does not begin what nobody wants any more when its slot is free', async () => {
    const { courier, slices } = openCourier(1);
    const lane = createLane(courier, () => 1);
    let isWanted = true;
    const first = lane.carry(dispatch(1), { isWanted: () => isWanted });
    const second = lane.carry(dispatch(2), { isWanted: () => isWanted });
    const third = lane.carry(dispatch(3));
    await turn();
    isWanted = false;
    slices[0]?.finish();
    expect(await first).toMatchObject({ verdict: 'done' });
    expect(await second).toBe('not-begun');
    await turn();
    slices[1]?.finish();
    expect(await third).toMatchObject({ durationMs: 3 });
    expect(slices.map(({ attempts }) => attempts)).toEqual([[1], [3]]);
  });

  it('lets dispatches wait as long as they have patience while its gate is shut, and then defers them', async () => {
    const { courier, slices } = openCourier(1);
    const clock = new FakeClock();
    const opensAtMs = clock.nowMs() + 10_000;
    const waitMs = (): number => Math.max(0, opensAtMs - clock.nowMs());
    const gate = { ...openGate, waitMs };
    const lane = openLane({ courier, clock, concurrency: () => 4, gate, keys: () => undefined });
    const impatient = lane.carry(dispatch(1), { patienceMs: 9_000 });
    const patient = lane.carry(dispatch(2), { patienceMs: 11_000 });
    await turn();
    expect(await impatient).toEqual({ deferMs: 10_000 });
    await clock.move(9_999);
    expect(slices).toHaveLength(0);
    await clock.move(1);
    slices[0]?.finish();
    expect(await patient).toMatchObject({ verdict: 'done' });
  });

  it('begins one call while its gate takes one, and the others when that has ended', async () => {
    const { courier, slices } = openCourier(5);
    let taken = 0;
    const gate: Gate = {
      ...openGate,
      waitMs: () => (taken > 0 ? Infinity : 0),
      began: () => void taken++,
      ended: () => void (taken = -9),
    };
    const lane = createLane(courier, () => 5, gate);
    const answers = [1, 2, 3].map((attempt) => lane.carry(dispatch(attempt), { patienceMs: 60_000 }));
    await turn();
    expect(slices.map(({ attempts }) => attempts)).toEqual([[1]]);
    slices[0]?.finish();
    await turn();
    expect(slices.map(({ attempts }) => attempts)).toEqual([[1], [2, 3]]);
    slices[1]?.finish();
    await Promise.all(answers);
  });

  it('defers at once what waits for a shut gate when its host leaves', async () => {
    const { courier } = openCourier(1);
    const lane = createLane(courier, () => 1, { ...openGate, waitMs: () => 5_000 });
    const waiting = lane.carry(dispatch(1), { patienceMs: 60_000 });
    await turn();
    lane.leave();
    expect(await waiting).toEqual({ deferMs: 5_000 });
    expect(lane.load).toBe(0);
  });

  it('has one delivery of a key under way, and others beside it', async () => {
    const { courier, slices } = openCourier(1);
    const isOurs = new Set(['a', 'b']);
    const released: string[] = [];
    const keys: KeyLeases = {
      hold: async (wanted) => wanted.map(({ message }) => isOurs.has(message.key ?? '')),
      release: async (held) => void released.push(...held.map(({ message }) => message.key ?? '')),
    };
    const clock = new FakeClock();
    const lane = openLane({ courier, clock, concurrency: () => 9, gate: openGate, keys: () => keys });
    const keyed = (attempt: number, key: string): Dispatch => ({ attempt, message: { key } }) as Dispatch;
    const answers = [keyed(1, 'a'), keyed(2, 'a'), keyed(3, 'b'), keyed(4, 'elsewhere')].map((each) =>
      lane.carry(each),
    );
    await turn();
    expect(slices.map(({ attempts }) => attempts)).toEqual([[1], [3]]);
    expect(await answers[3]).toEqual({ deferMs: 1_000 });
    slices[0]?.finish();
    await turn();
    expect(slices.at(-1)?.attempts).toEqual([2]);
    slices[1]?.finish();
    slices.at(-1)?.finish();
    await Promise.all(answers);
    expect(released.toSorted((a, b) => a.localeCompare(b))).toEqual(['a', 'a', 'b']);
  });
});
