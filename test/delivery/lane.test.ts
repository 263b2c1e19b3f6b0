import { describe, expect, it } from 'vitest';
import type { Answer, Courier, Dispatch } from '../../shared/delivery/courier.ts';
import { createLane } from '../../shared/delivery/lane.ts';

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
    const first = lane.carry(dispatch(1), () => isWanted);
    const second = lane.carry(dispatch(2), () => isWanted);
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
});
