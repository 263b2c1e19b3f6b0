/**
 * What deliveries write down, and what was written of them before: many at a time, and again and again while a database
 * is away.
 */
import type { DueEntry } from '../agenda/agenda.ts';
import { createBatcher } from '../batcher.ts';
import type { Clock } from '../clock.ts';
import type { MessageId } from '../identifier.ts';
import type { Message } from '../message/message.ts';
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
  /** A callback was written that is due. */
  readonly onOwed: () => void;
}

/** Tries work again and again until it succeeds or the host stops. */
export type Patiently = <T>(work: () => Promise<T>) => Promise<T>;

export interface DeliveryLog {
  /** Resolves when it is committed; nothing is written for a call that was not made. */
  write(outcome: DeliveryOutcome | undefined): Promise<void>;
  /** What entries are about, in their order. */
  look(store: Store, entries: readonly DueEntry[]): Promise<readonly Known[]>;
  /** Whether anything is known of this delivery. */
  has(messageId: MessageId, subscription: string): Promise<boolean>;
}

/** A claimed entry, and what is known of its delivery. */
export interface Known {
  readonly entry: DueEntry;
  /** Undefined when it is kept no longer. */
  readonly message: Message | undefined;
  /** Undefined before the first outcome. */
  readonly status: DeliveryStatus | undefined;
}

/** Messages of one statement: each may be large. */
const maxLoads = 200;
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
  const loaders = stores.map((store) =>
    createBatcher<MessageId, Message | undefined>({
      ...batching,
      maxItems: maxLoads,
      clock,
      async run(ids) {
        const loaded = await patiently(() => store.load([...new Set(ids)]));
        const found = new Map(loaded.map(({ message }) => [message.id, message]));
        return ids.map((id) => found.get(id));
      },
    }),
  );
  return {
    async look(store, entries) {
      const shard = stores.indexOf(store);
      const keys = entries.flatMap(keyOf);
      const [messages = [], statuses = []] = await Promise.all([
        loaders[shard]?.add(keys.map(({ messageId }) => messageId)),
        readers[shard]?.add(keys),
      ]);
      return entries.map((entry, n) => ({ entry, message: messages[n], status: statuses[n] }));
    },
    async write(outcome) {
      if (!outcome) return;
      await writers[shardOf(outcome.messageId, stores.length)]?.add([outcome]);
      if (outcome.state === 'RETRY' || outcome.state === 'LEASED') onRetry(outcome.retryAfterMs);
      if (outcome.callback) parts.onOwed();
    },
    async has(messageId, subscription) {
      const found = await readers[shardOf(messageId, stores.length)]?.add([{ messageId, subscription }]);
      return found?.[0] !== undefined;
    },
  };
}

/** An entry of kind `redeliver` is about one delivery. */
function keyOf({ refs, subscription }: DueEntry): readonly DeliveryKey[] {
  return refs.slice(0, 1).map((messageId) => ({ messageId, subscription: subscription ?? '' }));
}

export function keyText({ messageId, subscription }: DeliveryKey): string {
  return `${messageId}/${subscription}`;
}
