/**
 * What becomes of copies: messages that were published in another SET and came over a federated exchange. That SET delivers
 * them, so here they are kept passive (the topic says `hold`) or dropped, and acked. What RabbitMQ notes on every message
 * that crosses a federated exchange tells them, not where a message was stored: a sibling that takes over sends messages
 * of another SET as originals.
 *
 * What if the process dies: before the copies are written, the broker hands them out again; between that and the ack too,
 * and each is held once. A copy comes once per subscription that hears it, and is held once as well.
 */
import { createBatcher } from '../batcher.ts';
import type { Clock } from '../clock.ts';
import type { InboundMessage } from '../message/amqp-message.ts';
import { fromInbound } from '../message/envelope.ts';
import { shardOf } from '../message/shard.ts';
import type { CopyStore, HeldCopy } from '../store/copy-store.ts';
import type { Topic } from '../subscriptions/subscription.ts';
import type { Telemetry } from '../telemetry.ts';

export interface CopyParts {
  readonly set: string;
  /** One per shard, in shard order. */
  readonly stores: readonly Pick<CopyStore, 'hold'>[];
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly topic: (name: string) => Pick<Topic, 'replicate'> | undefined;
}

/** Resolves when the copy may be acked. @throws Problem `database-unavailable` */
export type PassCopy = (copy: InboundMessage) => Promise<void>;

/** Of a topic that this host does not know to replicate: it was so a moment ago, or will be. */
const unknownKeepForMs = 86_400_000;
/** One statement at a time, so that copies are held in the order they came. */
const batching = { maxItems: 200, lingerMs: 2, maxUnderWay: 1 } as const;

export function createCopies({ set, stores, clock, telemetry, topic }: CopyParts): PassCopy {
  const holders = stores.map((store) =>
    createBatcher<HeldCopy, undefined>({
      ...batching,
      clock,
      async run(copies) {
        await store.hold(copies);
        return copies.map(() => undefined);
      },
    }),
  );
  return async (copy) => {
    const arrival = fromInbound(copy);
    // What a native client published is kept nowhere, and neither is what was promised at most once.
    const kept =
      arrival.origin === 'setway' && arrival.message.mode === 'confirm' ? arrival.message : undefined;
    const replicate = kept && topic(kept.topic)?.replicate;
    const fate = kept ? (replicate?.others ?? 'hold') : 'drop';
    if (kept && fate === 'hold') {
      const keepForMs = replicate?.keepForMs ?? unknownKeepForMs;
      await holders[shardOf(kept.id, stores.length)]?.add([{ message: kept, keepForMs }]);
    }
    telemetry.count('setway_copies_total', { set, origin: kept?.placement.set ?? '', fate });
  };
}
