import { describe, expect, it } from 'vitest';
import { createBatcher } from '../shared/batcher.ts';
import { FakeClock } from './consumer/fake-clock.ts';

interface Run {
  readonly items: readonly number[];
  readonly finish: () => void;
  readonly fail: (error: Error) => void;
}

function open(options: { maxItems: number; maxUnderWay: number }) {
  const clock = new FakeClock();
  const runs: Run[] = [];
  const batcher = createBatcher<number, number>({
    ...options,
    clock,
    lingerMs: 2,
    run: (items) =>
      new Promise((resolve, reject) => {
        runs.push({ items, finish: () => resolve(items.map((item) => item * 10)), fail: reject });
      }),
  });
  return { clock, runs, batcher };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('a batcher', () => {
  it('lets the first of an idle batcher wait for company, and gives each caller its own results', async () => {
    const { clock, runs, batcher } = open({ maxItems: 10, maxUnderWay: 1 });
    const answers = [batcher.add([1]), batcher.add([2, 3]), batcher.add([4])];
    await clock.move(1);
    expect(runs).toHaveLength(0);
    await clock.move(1);
    expect(runs.map(({ items }) => items)).toEqual([[1, 2, 3, 4]]);
    runs[0]?.finish();
    expect(await Promise.all(answers)).toEqual([[10], [20, 30], [40]]);
  });

  it('leaves at once when it is full, and never parts what was added together', async () => {
    const { runs, batcher } = open({ maxItems: 3, maxUnderWay: 5 });
    void batcher.add([1, 2]);
    void batcher.add([3, 4, 5]);
    await turn();
    expect(runs.map(({ items }) => items)).toEqual([[1, 2, 3, 4, 5]]);
  });

  it('grows the next batch while one is under way', async () => {
    const { clock, runs, batcher } = open({ maxItems: 100, maxUnderWay: 1 });
    void batcher.add([1]);
    await clock.move(2);
    for (const item of [2, 3, 4]) void batcher.add([item]);
    await clock.move(50);
    expect(runs).toHaveLength(1);
    runs[0]?.finish();
    await turn();
    expect(runs.map(({ items }) => items)).toEqual([[1], [2, 3, 4]]);
  });

  it('keeps no more under way than it may', async () => {
    const { runs, batcher } = open({ maxItems: 1, maxUnderWay: 2 });
    for (const item of [1, 2, 3, 4]) void batcher.add([item]);
    await turn();
    expect(runs.map(({ items }) => items)).toEqual([[1], [2]]);
    runs[1]?.finish();
    await turn();
    expect(runs.map(({ items }) => items)).toEqual([[1], [2], [3]]);
  });

  it('a batch that fails rejects its own callers and nobody else', async () => {
    const { runs, batcher } = open({ maxItems: 1, maxUnderWay: 1 });
    const first = batcher.add([1]);
    const second = batcher.add([2]);
    runs[0]?.fail(new Error('no database'));
    await expect(first).rejects.toThrow('no database');
    await turn();
    runs[1]?.finish();
    expect(await second).toEqual([20]);
  });

  it('is idle when nothing waits and nothing is under way', async () => {
    const { clock, runs, batcher } = open({ maxItems: 10, maxUnderWay: 1 });
    await batcher.idle();
    void batcher.add([1]);
    let isIdle = false;
    const idle = batcher.idle().then(() => (isIdle = true));
    await clock.move(2);
    void batcher.add([2]);
    runs[0]?.finish();
    await turn();
    expect(isIdle).toBe(false);
    runs[1]?.finish();
    await idle;
    expect(isIdle).toBe(true);
  });
});
