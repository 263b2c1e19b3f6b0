/**
 * Deliveries of one subscription that travel together: up to so many messages, or for so long, in one call. Each keeps its
 * own record, tries and lease; the call has the rules of any other.
 */
import type { Clock } from '../clock.ts';
import type { FailedItem } from '../message/array.ts';
import type { ArrayRules } from '../subscriptions/delivery-policy.ts';
import { parseRetryAfterMs } from '../webhook/outcome.ts';
import type { Answer, Dispatch } from './courier.ts';
import type { Carried, Lane, Wish } from './lane.ts';

export interface GatherParts {
  readonly lane: Pick<Lane, 'carry'>;
  readonly clock: Clock;
  /** Asked anew each time, because a subscription may change. */
  readonly rules: () => ArrayRules;
}

export type Gatherer = Pick<Lane, 'carry' | 'load'>;

/** A receiver takes a megabyte by default, and base64 makes more of what it carries. */
const maxBytes = 512 * 1024;

interface Gathered {
  readonly dispatch: Dispatch;
  readonly wish: Wish;
  readonly resolve: (carried: Carried) => void;
  readonly reject: (error: unknown) => void;
}

export function createGatherer({ lane, clock, rules }: GatherParts): Gatherer {
  let waiting: Gathered[] = [];
  let bytes = 0;
  let cancelFlush: (() => void) | undefined;

  const flush = (): void => {
    cancelFlush?.();
    cancelFlush = undefined;
    const together = waiting;
    waiting = [];
    bytes = 0;
    if (together.length > 0) void send(together);
  };

  const add = (each: Gathered): void => {
    const size = each.dispatch.message.body.byteLength;
    if (bytes + size > maxBytes) flush();
    waiting.push(each);
    bytes += size;
    if (waiting.length >= rules().maxItems) flush();
    else cancelFlush ??= clock.after(rules().maxWaitMs, flush);
  };

  const send = async (gathered: readonly Gathered[]): Promise<void> => {
    const isWanted = ({ wish }: Gathered): boolean => wish.isWanted?.() ?? true;
    const wanted = gathered.filter(isWanted);
    for (const each of gathered) if (!wanted.includes(each)) each.resolve('not-begun');
    const [first] = wanted;
    if (!first) return;
    const wish: Wish = {
      isWanted: () => wanted.every(isWanted),
      onBegin: () => wanted.forEach(({ wish: { onBegin } }) => onBegin?.()),
      patienceMs: Math.min(...wanted.map((each) => each.wish.patienceMs ?? 0)),
    };
    try {
      const carried = await lane.carry(togetherOf(first.dispatch, wanted), wish);
      for (const each of wanted) {
        // One of them was wanted no more, so none was called: the others go with the next array.
        if (carried === 'not-begun' && isWanted(each)) add(each);
        else each.resolve(carriedOf(carried, each.dispatch));
      }
    } catch (error) {
      for (const { reject } of wanted) reject(error);
    }
  };

  return {
    get load() {
      return waiting.length;
    },
    carry: (dispatch, wish = {}) =>
      new Promise((resolve, reject) => add({ dispatch, wish, resolve, reject })),
  };
}

function togetherOf(first: Dispatch, gathered: readonly Gathered[]): Dispatch {
  const items = gathered.map(({ dispatch: { message, attempt } }) => ({ message, attempt }));
  const keeps = gathered.find(({ dispatch }) => dispatch.keeps)?.dispatch.keeps;
  return { ...first, keeps, attempt: Math.max(...items.map(({ attempt }) => attempt)), items };
}

function carriedOf(carried: Carried, { message }: Dispatch): Carried {
  if (carried === 'not-begun' || 'deferMs' in carried) return carried;
  const { failed = [], ...answer } = carried;
  const own = failed.find(({ id }) => id === message.id);
  return own && answer.verdict === 'done' ? failure(answer, own) : answer;
}

function failure(answer: Answer, { error, nonRetryable, retryAfterMs }: FailedItem): Answer {
  const seconds = retryAfterMs === undefined ? undefined : String(Math.ceil(retryAfterMs / 1000));
  const askedMs = parseRetryAfterMs(seconds, 0);
  return {
    ...answer,
    verdict: nonRetryable ? 'dead' : 'retry',
    error: error ?? 'The receiver names it as failed.',
    ...(askedMs === undefined ? {} : { retryAfterMs: askedMs }),
  };
}
