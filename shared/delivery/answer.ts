/**
 * Deliveries that their consumers answer later. A webhook that says 202 with `setway-async: 1`, or a consumer that
 * pulled a message, holds the delivery under a lease:
 *
 *   LEASED ──done──▶ DONE     true whoever says it, and whenever: after the lease too, and after a dead letter
 *      ├──failed──▶ RETRY by the schedule, or DEAD; decides only while the lease lasts
 *      ├──extend──▶ LEASED    ends later; only while it lasts
 *      └──nobody says anything──▶ RETRY by the schedule, or DEAD
 *
 * The end of the lease is an agenda entry, written in the statement that records LEASED, so whatever dies leaves it to
 * whoever claims next. What if the answer comes before LEASED is written: `done` writes DONE, which LEASED does not
 * overwrite; the others are told to ask again. What if its own answer is lost: said again, it was so.
 */
import type { Message } from '../message/message.ts';
import { shardOf } from '../message/shard.ts';
import type { AnswerEffect, DeliveryAnswer } from '../sets/delivery-answer.ts';
import type { SetLink } from '../sets/set-link.ts';
import type { AnswerToRecord } from '../store/delivery-outcome.ts';
import type { Store } from '../store/store.ts';
import type { Subscription } from '../subscriptions/subscription.ts';
import { defaultLeaseMs } from '../webhook/lease.ts';
import { afterFailure } from './lease-ended.ts';

export interface AnswerParts {
  readonly set: string;
  /** One per shard, in shard order. */
  readonly stores: readonly Store[];
  readonly subscription: (name: string) => Subscription | undefined;
  /** Something of this kind falls due after so long. */
  readonly onDue: (afterMs: number, kind: 'order' | 'redeliver' | 'callback') => void;
}

export function createAnswering(parts: AnswerParts): Pick<SetLink, 'answer'> {
  const { stores } = parts;
  return {
    async answer(answers) {
      const effects = new Map<number, AnswerEffect>();
      await Promise.all(
        stores.map(async (store, shard) => {
          const own = answers.flatMap((answer, n) =>
            shardOf(answer.messageId, stores.length) === shard ? [{ n, answer }] : [],
          );
          if (own.length === 0) return;
          const said = await toRecords(
            parts,
            store,
            own.map(({ answer }) => answer),
          );
          const told = await store.answer(said, { set: parts.set, host: 'consumer' });
          own.forEach(({ n }, index) => {
            const effect = told[index];
            if (effect) effects.set(n, effect);
            if (effect?.wakes) parts.onDue(said[index]?.afterMs ?? 0, effect.wakes);
            if (effect?.owes) parts.onDue(0, effect.owes);
          });
        }),
      );
      return answers.map((_, n) => effects.get(n) ?? { outcome: 'too-early' });
    },
  };
}

/** A message may bring its own schedule, so those that failed are looked up. */
async function toRecords(
  parts: AnswerParts,
  store: Store,
  answers: readonly DeliveryAnswer[],
): Promise<readonly AnswerToRecord[]> {
  const failed = answers.filter(({ says, retry }) => says === 'failed' && retry === undefined);
  const loaded = failed.length === 0 ? [] : await store.load(failed.map(({ messageId }) => messageId));
  const messages = new Map(loaded.map(({ message }) => [message.id, message]));
  return answers.map((answer) => toRecord(parts, answer, messages.get(answer.messageId)));
}

function toRecord(
  { subscription }: AnswerParts,
  answer: DeliveryAnswer,
  message: Message | undefined,
): AnswerToRecord {
  const { messageId, attempt, says } = answer;
  const known = subscription(answer.subscription);
  const callback = known?.callback === undefined ? {} : { callback: known.callback };
  const shared = { messageId, attempt, subscription: answer.subscription, error: null, ...callback };
  if (says === 'done') return { ...shared, state: 'DONE', afterMs: 0 };
  if (says === 'extend') return { ...shared, state: 'LEASED', afterMs: answer.leaseMs ?? defaultLeaseMs };
  const error = answer.error ?? 'The consumer says that it failed.';
  if (!known || !message)
    return { ...shared, error, state: known?.atEnd === 'drop' ? 'SKIPPED' : 'DEAD', afterMs: 0 };
  const { state, retryAfterMs } = afterFailure(message, known, attempt);
  return { ...shared, error, state, afterMs: state === 'RETRY' ? (answer.retryAfterMs ?? retryAfterMs) : 0 };
}
