/**
 * Deliveries of one key, one at a time, over all hosts of a SET: who calls holds the key in the database for as long as
 * the call may take. A host that dies leaves it to run out; a call has a total time, so none outlasts its lease.
 */
import { createBatcher, type Batcher } from '../batcher.ts';
import type { Clock } from '../clock.ts';
import { bucketOf } from '../sets/bucket.ts';
import type { HeldKey, KeyHold, Store } from '../store/store.ts';
import type { Dispatch } from './courier.ts';

export interface KeyLeases {
  /** Whether each one's key is ours now; those without a key are free. @throws Problem when the database is away */
  hold(dispatches: readonly Dispatch[]): Promise<readonly boolean[]>;
  /** Never rejects: what cannot be given back runs out. */
  release(dispatches: readonly Dispatch[]): Promise<void>;
}

/** How soon a delivery is tried again whose key another host has at work. */
export const busyKeyMs = 1_000;

/** Between the moment the lease is written and the moment the call begins, and what a timer may be late. */
const slackMs = 5_000;

export function keyOf({ message }: Dispatch): string | undefined {
  return message.key;
}

export function createKeyLeases(stores: readonly Store[], clock: Clock, host: string): KeyLeases {
  const shared = { maxItems: 500, lingerMs: 1, maxUnderWay: 2, clock };
  const holds = stores.map((store) =>
    createBatcher({ run: (wanted: readonly KeyHold[]) => store.holdKeys(wanted, host), ...shared }),
  );
  const releases = stores.map((store) =>
    createBatcher({
      run: async (held: readonly HeldKey[]) => {
        await store.releaseKeys(held, host);
        return held.map(() => undefined);
      },
      ...shared,
    }),
  );
  const at = <T>(all: readonly T[], key: string): T | undefined => all[bucketOf(key) % all.length];

  return {
    hold: (dispatches) =>
      Promise.all(
        dispatches.map(async ({ message: { key }, subscription, timeoutMs }) => {
          if (key === undefined) return true;
          const held = await at(holds, key)?.add([{ subscription, key, forMs: timeoutMs + slackMs }]);
          return held?.[0] === true;
        }),
      ),
    async release(dispatches) {
      const keyed = dispatches.flatMap(({ message: { key }, subscription }) =>
        key === undefined ? [] : [{ subscription, key }],
      );
      await Promise.allSettled(
        keyed.map(async (held) => at<Batcher<HeldKey, undefined>>(releases, held.key)?.add([held])),
      );
    },
  };
}
