/**
 * Copies become messages: a SET that is lost with its database is taken over from what others hold of it. Nobody knows here
 * which of them it had delivered, so all are sent again, under the same ids, and the guard of a webhook recognises those
 * it knows. What the lost SET had not sent yet, or its links had not carried, is not among them.
 *
 * What if the process dies: what was committed and not forgotten is committed again by the next run, and found to be there.
 */
import type { Message } from '../message/message.ts';
import type { Store } from '../store/store.ts';

export interface Promotion {
  /** The SET that is lost. */
  readonly origin: string;
  /** Copies of messages accepted before this stay as they are, in Unix milliseconds by the clock of the edge that took them. */
  readonly sinceMs: number;
}

export interface PromoteParts {
  /** The SET that takes over. */
  readonly set: string;
  readonly stores: readonly Pick<Store, 'findHeld' | 'forgetHeld' | 'commit'>[];
}

/** Messages of one commit. */
const maxGroup = 500;

/**
 * Hosts, or the cron `republish`, send what becomes READY.
 * @returns how many messages are this SET's now
 * @throws Problem `database-unavailable`, `set-fenced`: run it again
 */
export async function promoteHeld({ set, stores }: PromoteParts, promotion: Promotion): Promise<number> {
  let promoted = 0;
  for (const store of stores) {
    let after: string | null = null;
    for (;;) {
      const copies: Awaited<ReturnType<Store['findHeld']>> = await store.findHeld(
        promotion.origin,
        after,
        maxGroup,
      );
      if (copies.length === 0) break;
      after = copies.at(-1)?.place ?? null;
      const wanted = copies.filter(({ message }) => message.acceptedAtMs >= promotion.sinceMs);
      if (wanted.length === 0) continue;
      const offers = wanted.map(({ message }) => ({ message: movedTo(set, message) }));
      await store.commit(offers, { set, resendAfterMs: 0 });
      await store.forgetHeld(wanted.map(({ message }) => message.id));
      promoted += wanted.length;
    }
  }
  return promoted;
}

function movedTo(set: string, message: Message): Message {
  return { ...message, placement: { set, reason: 'take-over' } };
}
