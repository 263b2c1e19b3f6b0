/**
 * Copies that a queue hands out of messages which are with another SET now: since this SET was taken over and came back.
 * They are acked and not called. What a SET asks for that was never taken over is one small thing every few seconds, so that
 * a host that slept through a take-over learns of it before it calls anybody; one that was asks about older messages too.
 */
import { createBatcher } from '../batcher.ts';
import type { Clock } from '../clock.ts';
import { mintedAtMs, type MessageId } from '../identifier.ts';
import { shardOf } from '../message/shard.ts';
import type { Handover } from '../store/handover.ts';

export type DepartureBook = Pick<Handover, 'lastLeftAtMs' | 'departed'>;

export interface Departed {
  /** `false` at once when nothing has, or it is too young. @throws Problem `database-unavailable` */
  readonly has: (id: MessageId) => Promise<boolean> | false;
  /** The tenure has changed: what is known of departures is looked up again. */
  renew(): void;
}

/** Clocks of edges may be ahead of the database's by so much. */
const clockSkewMs = 60_000;
/** Less than anybody waits before a host is given up. */
const knownForMs = 10_000;

interface Known {
  readonly askedAtMs: number;
  readonly lastMs: number | undefined;
}

export function createDeparted(books: readonly DepartureBook[], clock: Clock): Departed {
  let known: (Known | undefined)[] = [];
  const asking = books.map((book) =>
    createBatcher({
      async run(ids: readonly MessageId[]) {
        const departed = await book.departed(ids);
        return ids.map((id) => departed.has(id));
      },
      maxItems: 500,
      lingerMs: 1,
      maxUnderWay: 2,
      clock,
    }),
  );
  const isOld = (id: MessageId, { lastMs }: Known): boolean =>
    lastMs !== undefined && mintedAtMs(id) <= lastMs + clockSkewMs;
  const look = async (id: MessageId, shard: number): Promise<boolean> => {
    const askedAtMs = clock.nowMs();
    const now = { askedAtMs, lastMs: await books[shard]?.lastLeftAtMs() };
    known[shard] = now;
    return isOld(id, now) && ask(id, shard);
  };
  const ask = async (id: MessageId, shard: number): Promise<boolean> =>
    (await asking[shard]?.add([id]))?.[0] ?? false;

  return {
    has(id) {
      if (books.length === 0) return false;
      const shard = shardOf(id, books.length);
      const last = known[shard];
      if (!last || clock.nowMs() - last.askedAtMs > knownForMs) return look(id, shard);
      return isOld(id, last) && ask(id, shard);
    },
    renew() {
      known = [];
    },
  };
}
