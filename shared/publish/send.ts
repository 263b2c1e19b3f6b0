/**
 * Sends the messages of one agenda entry and writes what the broker said.
 *
 * What if the process dies: before `publish`, the entry falls due and somebody sends; between `publish` and `settle`,
 * the same, and the broker gets a second copy with the same id, which the guard recognises. A settle that comes late
 * holds an old lease: it may still say CONFIRMED, which is true, but it cannot touch the entry.
 */
import type { Lease } from '../agenda/agenda.ts';
import type { Broker, PublishOutcome } from '../broker/broker.ts';
import type { MessageId } from '../identifier.ts';
import { toOutbound } from '../message/envelope.ts';
import type { MessageState } from '../message/lifecycle.ts';
import type { Message } from '../message/message.ts';
import { asProblem } from '../problem.ts';
import type { Store } from '../store/store.ts';
import type { Telemetry } from '../telemetry.ts';

export interface SendParts {
  readonly set: string;
  readonly broker: Broker;
  /** Connected, and the SET's topology declared: what is published now can be routed. */
  readonly canSend: () => boolean;
  readonly telemetry: Telemetry;
  readonly confirmTimeoutMs: number;
  /** Tries before a message is FAILED. */
  readonly maxAttempts: number;
}

export interface Sending {
  readonly lease: Lease;
  readonly messages: readonly Message[];
  /** How often these were tried before. */
  readonly attempts: number;
}

/** While the broker is away its entries wait this long: hosts do not claim them before it is back. */
const brokerAwayMs = 1_000;

/** 1 s, 2 s, 4 s … at most 5 minutes. */
function resendDelayMs(attempts: number): number {
  return Math.min(1_000 * 2 ** Math.min(attempts, 12), 300_000);
}

/**
 * @returns the state of each message as far as the broker's answer tells; READY means it will be sent again
 * @throws Problem `database-unavailable` when the outcome could not be written: the entry falls due again
 */
export async function sendMessages(
  parts: SendParts,
  store: Store,
  sending: Sending,
): Promise<ReadonlyMap<MessageId, MessageState>> {
  const { lease, messages, attempts } = sending;
  if (!parts.canSend()) {
    await store.release([lease], brokerAwayMs);
    return new Map(messages.map((message) => [message.id, 'READY']));
  }
  const outcomes = await publishAll(parts, messages);
  const isLastTry = attempts + 1 >= parts.maxAttempts;
  const states = outcomes.map((outcome) => stateAfter(outcome, isLastTry));
  const idsIn = (state: MessageState) =>
    messages.filter((_, index) => states[index] === state).map(({ id }) => id);
  await store.settle({
    lease,
    confirmed: idsIn('CONFIRMED'),
    unroutable: idsIn('UNROUTABLE'),
    failed: idsIn('FAILED'),
    again: idsIn('READY'),
    againAfterMs: resendDelayMs(attempts),
  });
  for (const outcome of ['confirmed', 'unroutable', 'unknown'] as const) {
    const amount = outcomes.filter((each) => each === outcome).length;
    if (amount > 0) parts.telemetry.count('setway_sent_total', { set: parts.set, outcome }, amount);
  }
  return new Map(messages.map((message, index) => [message.id, states[index] ?? 'READY']));
}

async function publishAll(
  parts: SendParts,
  messages: readonly Message[],
): Promise<readonly PublishOutcome[]> {
  const options = { timeoutMs: parts.confirmTimeoutMs };
  try {
    return await parts.broker.publish(messages.map(toOutbound), options);
  } catch (error) {
    if (asProblem(error).kind !== 'invalid-request') throw error;
  }
  // One message that AMQP cannot carry must not hold up the others: alone it ends as FAILED, for all to see.
  if (messages.length === 1) return ['unknown'];
  const outcomes = await Promise.all(messages.map((message) => publishAll(parts, [message])));
  return outcomes.flat();
}

function stateAfter(outcome: PublishOutcome, isLastTry: boolean): MessageState {
  switch (outcome) {
    case 'confirmed':
      return 'CONFIRMED';
    case 'unroutable':
      return 'UNROUTABLE';
    case 'unknown':
      return isLastTry ? 'FAILED' : 'READY';
  }
}
