/**
 * What deliveries write down, and what was written of them before: many at a time, and again and again while a database
 * is away.
 */
import { createBatcher } from '../batcher.ts';
import type { Clock } from '../clock.ts';
import type { MessageId } from '../identifier.ts';
import { shardOf } from '../message/shard.ts';
import type { DeliveryOutcome } from '../store/delivery-outcome.ts';
import type { DeliveryKey, DeliveryStatus, Store } from '../store/store.ts';

export interface RecordParts {
  readonly set: string;
  readonly host: string;
  /** One per shard, in shard order. */
  readonly stores: readonly Store[];
  readonly clock: Clock;
  /** A retry, or the end of a lease, was written that falls due after this long. */
  readonly onRetry: (afterMs: number) => void;
}

/** Tries work again and again until it succeeds or the host stops. */
export type Patiently = <T>(work: () => Promise<T>) => Promise<T>;

export interface DeliveryLog {
  /** Resolves when it is committed; nothing is written for a call that was not made. */
  write(outcome: DeliveryOutcome | undefined): Promise<void>;
  /** Whether anything is known of this delivery. */
  has(messageId: MessageId, subscription: string): Promise<boolean>;
}

/** Of one statement. */
const maxItems = 500;
const batching = { maxItems, lingerMs: 2, maxUnderWay: 2 } as const;

export function createRecord(parts: RecordParts, patiently: Patiently): DeliveryLog {
  const { clock, onRetry, stores } = parts;
  const by = { set: parts.set, host: parts.host };
  const writers = stores.map((store) =>
    createBatcher<DeliveryOutcome, undefined>({
      ...batching,
      clock,
      async run(outcomes) {
        await patiently(() => store.record(outcomes, by));
        return outcomes.map(() => undefined);
      },
    }),
  );
  const readers = stores.map((store) =>
    createBatcher<DeliveryKey, DeliveryStatus | undefined>({
      ...batching,
      clock,
      async run(keys) {
        const known = await patiently(() => store.deliveries(keys));
        const found = new Map(known.map((status) => [keyText(status), status]));
        return keys.map((key) => found.get(keyText(key)));
      },
    }),
  );
  return {
    async write(outcome) {
      if (!outcome) return;
      await writers[shardOf(outcome.messageId, stores.length)]?.add([outcome]);
      if (outcome.state === 'RETRY' || outcome.state === 'LEASED') onRetry(outcome.retryAfterMs);
    },
    async has(messageId, subscription) {
      const found = await readers[shardOf(messageId, stores.length)]?.add([{ messageId, subscription }]);
      return found?.[0] !== undefined;
    },
  };
}

export function keyText({ messageId, subscription }: DeliveryKey): string {
  return `${messageId}/${subscription}`;
}
