/**
 * The deliveries of one subscription on one host: a queue (high priority first), and at most `concurrency` webhook calls under way. A slow
 * webhook fills its own lane and nobody else's.
 */
import type { Answer, Courier, Dispatch } from './courier.ts';

export interface Lane {
  /**
   * Resolves with what the webhook answered, or with `not-begun` when no slot was free while it was wanted; rejects when
   * the courier itself failed and nothing is known.
   * @param isWanted asked when a slot is free; without it, always
   */
  carry(dispatch: Dispatch, isWanted?: () => boolean): Promise<Answer | 'not-begun'>;
  /** Dispatches waiting or under way. */
  readonly load: number;
}

interface Waiting {
  readonly dispatch: Dispatch;
  readonly isWanted: () => boolean;
  readonly resolve: (answer: Answer | 'not-begun') => void;
  readonly reject: (error: unknown) => void;
}

function isHigh({ dispatch }: Waiting): boolean {
  return dispatch.message.priority === 'high';
}

/** @param concurrency asked anew each time, because a subscription may change */
export function createLane(courier: Courier, concurrency: () => number): Lane {
  const waiting: Waiting[] = [];
  let underWay = 0;
  let isPumpDue = false;

  const run = async (slice: readonly Waiting[]): Promise<void> => {
    try {
      const answers = await courier.carry(slice.map(({ dispatch }) => dispatch));
      slice.forEach(({ resolve, reject }, index) => {
        const answer = answers[index];
        if (answer) resolve(answer);
        else reject(new RangeError('The courier brought back fewer answers than dispatches.'));
      });
    } catch (error) {
      for (const { reject } of slice) reject(error);
    } finally {
      underWay -= slice.length;
      pump();
    }
  };

  const pump = (): void => {
    isPumpDue = false;
    while (waiting.length > 0 && underWay < concurrency()) {
      const slice = waiting.splice(0, Math.min(courier.sliceSize, concurrency() - underWay));
      const wanted = slice.filter(({ isWanted }) => isWanted());
      for (const each of slice) if (!wanted.includes(each)) each.resolve('not-begun');
      underWay += wanted.length;
      if (wanted.length > 0) void run(wanted);
    }
  };

  /** A message of high priority goes before the normal ones that wait, behind those of its kind. */
  const enqueue = (each: Waiting): void => {
    const at = isHigh(each) ? waiting.findIndex((other) => !isHigh(other)) : -1;
    if (at === -1) waiting.push(each);
    else waiting.splice(at, 0, each);
  };

  return {
    get load() {
      return waiting.length + underWay;
    },
    carry(dispatch, isWanted = () => true) {
      return new Promise((resolve, reject) => {
        enqueue({ dispatch, isWanted, resolve, reject });
        if (isPumpDue) return;
        isPumpDue = true;
        queueMicrotask(pump); // messages that arrive in one socket read leave in one slice
      });
    },
  };
}
