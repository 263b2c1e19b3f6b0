/**
 * What native AMQP clients publish into a topic's exchange. Nothing of it is stored, so its home is the queue: it is
 * acked when the webhook has taken it, and until then nobody loses it but RabbitMQ.
 *
 *     handed out ─▶ call ─▶ done ─▶ ack
 *                     ├─ try again ─▶ unacked here for the wait (at most 20 s), then the next call
 *                     └─ no more tries, or dead ─▶ rejected: to the queue `setway.dead`, where it is seen
 *
 * The schedule is counted in this host: with a host that dies it begins anew, and RabbitMQ's delivery limit ends what
 * kills hosts. Its id follows from the publisher's `message_id`, or from the content when there is none: then two equal
 * messages are one to the webhook's guard.
 */
import { createHash } from 'node:crypto';
import type { InboundDelivery } from '../broker/broker.ts';
import type { Clock } from '../clock.ts';
import { mintMessageId } from '../identifier.ts';
import type { ForeignMessage } from '../message/envelope.ts';
import { readClientHeaders } from '../message/client-headers.ts';
import type { Message } from '../message/message.ts';
import type { Subscription } from '../subscriptions/subscription.ts';
import type { Caller } from './caller.ts';
import { tryAgainMs } from './patience.ts';

/** An unacked message takes the place of another one. */
const longestWaitMs = 20_000;
/** RabbitMQ takes back what stays unacked for half an hour. */
const patienceMs = 60_000;

export interface ForeignParts {
  readonly caller: Pick<Caller, 'call'>;
  readonly clock: Clock;
  /** The host stops. */
  readonly isLeaving: () => boolean;
}

/** @param message as `asMessage` made it */
export async function deliverForeign(
  { caller, clock, isLeaving }: ForeignParts,
  delivery: InboundDelivery,
  message: Message,
  subscription: Subscription,
): Promise<void> {
  for (let attempt = 1; ;) {
    const outcome = await caller
      .call(message, subscription, attempt, { patienceMs })
      .catch(() => ({ deferMs: tryAgainMs }));
    if (!outcome) return delivery.requeue();
    const isCalled = 'state' in outcome;
    // Taken for later is taken: there is no record that could be answered.
    if (isCalled && ['DONE', 'LEASED', 'SKIPPED'].includes(outcome.state)) return delivery.ack();
    if (isCalled && outcome.state === 'DEAD') return delivery.reject();
    if (isLeaving()) return delivery.requeue();
    const waitMs = isCalled ? outcome.retryAfterMs : outcome.deferMs;
    if (isCalled) attempt++;
    await new Promise<void>((resolve) => void clock.after(Math.min(waitMs, longestWaitMs), resolve));
  }
}

/** A foreign message as one of the subscription's. Headers that HTTP cannot carry, or that are ours, are left out. */
export function asMessage(foreign: ForeignMessage, set: string, subscription: Subscription): Message {
  const { body, contentType, headers, tag, traceparent } = foreign;
  return {
    id: idOf(foreign, subscription.topic),
    owner: subscription.owner,
    topic: subscription.topic,
    mode: 'confirm',
    body,
    contentType: /^[\x20-\x7e]+$/.test(contentType) ? contentType : 'application/octet-stream',
    headers: readClientHeaders(Object.entries(headers), '', []),
    acceptedAtMs: foreign.publishedAtMs ?? 0,
    placement: { set, reason: 'amqp' },
    ...(/^[\x21-\x7e]+$/.test(tag) ? { tag } : {}),
    ...(traceparent === undefined ? {} : { traceparent }),
  };
}

function idOf({ body, messageId, publishedAtMs, tag }: ForeignMessage, topic: string): Message['id'] {
  const hash = createHash('sha256').update(`amqp\n${topic}\n`);
  if (messageId === undefined) hash.update(`content\n${tag}\n${publishedAtMs ?? ''}\n`).update(body);
  else hash.update(`id\n${messageId}`);
  const digest = hash.digest();
  return mintMessageId({ setNumber: 0, shard: 0 }, digest.readUIntBE(7, 5), digest.subarray(0, 7));
}
