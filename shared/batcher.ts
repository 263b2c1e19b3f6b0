/**
 * Group commit, for anything: many callers, one round trip. A batch leaves when it is full, or after a short linger
 * when nothing is under way; while batches are under way the next one grows, so the batch size follows the load by
 * itself and a lone caller hardly waits.
 */
import type { Clock } from './clock.ts';

export interface BatcherOptions<In, Out> {
  /** Handles a batch: one result per item, in order. A rejection rejects every caller of the batch. */
  readonly run: (items: readonly In[]) => Promise<readonly Out[]>;
  /** A batch takes callers until it holds this many items. */
  readonly maxItems: number;
  /** How long the first caller of an idle batcher waits for others, in milliseconds. */
  readonly lingerMs: number;
  /** Batches under way at once. */
  readonly maxUnderWay: number;
  readonly clock: Clock;
}

export interface Batcher<In, Out> {
  /** Adds items that stay together in one batch; resolves with their results, in order. */
  add(items: readonly In[]): Promise<readonly Out[]>;
  /** Resolves when nothing waits and nothing is under way. */
  idle(): Promise<void>;
}

interface Caller<In, Out> {
  readonly items: readonly In[];
  readonly resolve: (results: readonly Out[]) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * @example
 * const inserts = createBatcher({ run: insertMany, maxItems: 500, lingerMs: 1, maxUnderWay: 2, clock: systemClock });
 * const [row] = await inserts.add([item]);
 */
export function createBatcher<In, Out>(options: BatcherOptions<In, Out>): Batcher<In, Out> {
  let waiting: Caller<In, Out>[] = [];
  let waitingItems = 0;
  let underWay = 0;
  let cancelLinger: (() => void) | undefined;
  const idlers: (() => void)[] = [];

  const take = (): Caller<In, Out>[] => {
    let items = 0;
    const index = waiting.findIndex((caller) => (items += caller.items.length) >= options.maxItems);
    const batch = index === -1 ? waiting : waiting.slice(0, index + 1);
    waiting = index === -1 ? [] : waiting.slice(index + 1);
    waitingItems -= items;
    return batch;
  };

  const leave = async (batch: readonly Caller<In, Out>[]): Promise<void> => {
    underWay++;
    try {
      const results = await options.run(batch.flatMap((caller) => caller.items));
      let offset = 0;
      for (const { items, resolve } of batch) resolve(results.slice(offset, (offset += items.length)));
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
    underWay--;
    pump();
    if (underWay === 0 && waiting.length === 0) for (const idler of idlers.splice(0)) idler();
  };

  const flush = (): void => {
    cancelLinger?.();
    cancelLinger = undefined;
    while (waiting.length > 0 && underWay < options.maxUnderWay) void leave(take());
  };

  const pump = (): void => {
    if (waiting.length === 0 || underWay >= options.maxUnderWay) return;
    if (waitingItems >= options.maxItems || underWay === 0) flush();
  };

  return {
    add(items) {
      return new Promise((resolve, reject) => {
        waiting.push({ items, resolve, reject });
        waitingItems += items.length;
        if (waitingItems >= options.maxItems) pump();
        else if (underWay === 0) cancelLinger ??= options.clock.after(options.lingerMs, flush);
      });
    },
    async idle() {
      if (underWay === 0 && waiting.length === 0) return;
      await new Promise<void>((resolve) => idlers.push(resolve));
    },
  };
}
