/**
 * A message on RabbitMQ's wire. AMQP properties say what any client understands (`messageId`, `type` = topic,
 * `contentType`, `timestamp`, `appId` = "setway"); headers say the rest:
 *
 *     setway-owner, -tag, -key, -mode, -set, -reason, -distance (km), -accepted-at (Unix ms)
 *     setway-session, -sequence, -size, -deadline (ms), -on-gap    one of an ordered group; without -sequence a batch
 *     setway-lane, -expires-at (Unix ms), -priority, -replay-of, -retries (JSON), -callback (JSON)
 *     traceparent                the W3C trace context
 *     setway-h-<name>            a client's header <name>
 *
 * The prefix keeps a client's `cc`, `x-match` or `setway-key` from meaning anything to RabbitMQ or to us.
 */
import { isMessageId } from '../identifier.ts';
import { exchangeOf } from '../topology/names.ts';
import type { AmqpProperties, InboundMessage, OutboundMessage } from './amqp-message.ts';
import type { Message, Mode, OnGap } from './message.ts';
import { callbackOf } from './callback.ts';
import { retriesOf } from './retries.ts';

const appId = 'setway';
/** With it a client's header name must fit the 255 bytes of an AMQP header name; the door allows 128. */
const clientPrefix = 'setway-h-';
/** What a native client means that names no content type (RFC 9110 §8.3). */
const defaultContentType = 'application/octet-stream';

/** What arrived in a queue: one of our messages, or one that a native AMQP client published. */
export type Arrival =
  | { readonly origin: 'setway'; readonly message: Message }
  | { readonly origin: 'foreign'; readonly message: ForeignMessage };

/** No id of ours, no owner, no placement. */
export interface ForeignMessage {
  /** The publisher's own id: any text, unique only if the publisher keeps it so. */
  readonly messageId?: string;
  readonly type?: string;
  readonly tag: string;
  readonly body: Uint8Array;
  readonly contentType: string;
  /** Lower-case names; numbers as text. */
  readonly headers: Readonly<Record<string, string>>;
  readonly traceparent?: string;
  /** Unix milliseconds, from the publisher's `timestamp`. */
  readonly publishedAtMs?: number;
}

/**
 * The message as it is published to its topic's exchange.
 * @example broker.publish([toOutbound(message)], { timeoutMs: 5000 })
 */
export function toOutbound(message: Message): OutboundMessage {
  return {
    exchange: exchangeOf(message.topic, message.priority),
    routingKey: message.tag ?? '',
    body: message.body,
    properties: {
      messageId: message.id,
      type: message.topic,
      contentType: message.contentType,
      timestamp: Math.floor(message.acceptedAtMs / 1000),
      appId,
      headers: headersOf(message),
    },
  };
}

function headersOf(message: Message): AmqpProperties['headers'] {
  const { placement } = message;
  const headers: Record<string, string | number> = {
    'setway-owner': message.owner,
    'setway-mode': message.mode,
    'setway-set': placement.set,
    'setway-reason': placement.reason,
    'setway-accepted-at': message.acceptedAtMs,
  };
  if (message.tag !== undefined) headers['setway-tag'] = message.tag;
  if (message.key !== undefined) headers['setway-key'] = message.key;
  if (placement.distanceKm !== undefined) headers['setway-distance'] = placement.distanceKm;
  if (message.traceparent !== undefined) headers['traceparent'] = message.traceparent;
  writeMode(message, headers);
  for (const [name, value] of Object.entries(message.headers)) headers[clientPrefix + name] = value;
  return headers;
}

/** What only some send modes say. */
function writeMode(message: Message, headers: Record<string, string | number>): void {
  const { batch, expiresAtMs, order, priority, replayOf, retries, callback } = message;
  if (order?.kind === 'lane') headers['setway-lane'] = order.lane;
  else if (order) {
    headers['setway-session'] = order.session;
    headers['setway-sequence'] = order.sequence;
    headers['setway-size'] = order.size;
    headers['setway-deadline'] = order.deadlineMs;
    headers['setway-on-gap'] = order.onGap;
  }
  if (batch) {
    headers['setway-session'] = batch.session;
    headers['setway-size'] = batch.size;
  }
  if (expiresAtMs !== undefined) headers['setway-expires-at'] = expiresAtMs;
  if (priority) headers['setway-priority'] = priority;
  if (replayOf) headers['setway-replay-of'] = replayOf;
  if (retries) headers['setway-retries'] = JSON.stringify(retries);
  if (callback) headers['setway-callback'] = JSON.stringify(callback);
}

function readMode(
  headers: AmqpProperties['headers'],
): Pick<Message, 'batch' | 'expiresAtMs' | 'order' | 'priority' | 'replayOf' | 'retries' | 'callback'> {
  const expiresAtMs = headers['setway-expires-at'];
  const replayOf = headers['setway-replay-of'];
  const retries = retriesOf(headers['setway-retries']);
  const callback = callbackOf(headers['setway-callback']);
  return {
    ...readOrder(headers),
    ...(typeof expiresAtMs === 'number' ? { expiresAtMs } : {}),
    ...(headers['setway-priority'] === 'high' ? { priority: 'high' } : {}),
    ...(isMessageId(replayOf) ? { replayOf } : {}),
    ...(retries ? { retries } : {}),
    ...(callback ? { callback } : {}),
  };
}

function readOrder(headers: AmqpProperties['headers']): Pick<Message, 'batch' | 'order'> {
  const lane = headers['setway-lane'];
  const session = headers['setway-session'];
  const size = headers['setway-size'];
  const sequence = headers['setway-sequence'];
  const deadlineMs = headers['setway-deadline'];
  if (typeof lane === 'string') return { order: { kind: 'lane', lane } };
  if (typeof session !== 'string' || typeof size !== 'number') return {};
  if (typeof sequence !== 'number' || typeof deadlineMs !== 'number') return { batch: { session, size } };
  const onGap = onGapOf(headers['setway-on-gap']);
  return { order: { kind: 'sequence', session, sequence, size, deadlineMs, onGap } };
}

function onGapOf(given: unknown): OnGap {
  return given === 'skip' || given === 'abort' ? given : 'block';
}

/** Reads what `toOutbound` wrote; what lacks a part of it, or has one of another kind, is foreign. Never throws. */
export function fromInbound(inbound: InboundMessage): Arrival {
  const message = ownMessage(inbound);
  return message ? { origin: 'setway', message } : { origin: 'foreign', message: foreignMessage(inbound) };
}

function ownMessage({ body, properties }: InboundMessage): Message | undefined {
  const { headers, type: topic, contentType } = properties;
  const { messageId: id } = properties;
  const owner = headers['setway-owner'];
  const mode = modeOf(headers['setway-mode']);
  const set = headers['setway-set'];
  const reason = headers['setway-reason'];
  const acceptedAtMs = headers['setway-accepted-at'];
  if (properties.appId !== appId || !isMessageId(id) || !topic || contentType === undefined || !mode)
    return undefined;
  if (typeof owner !== 'string' || typeof set !== 'string' || typeof reason !== 'string') return undefined;
  if (typeof acceptedAtMs !== 'number') return undefined;
  const distanceKm = headers['setway-distance'];
  return {
    id,
    owner,
    topic,
    mode,
    body,
    contentType,
    acceptedAtMs,
    ...text('tag', headers['setway-tag']),
    ...text('key', headers['setway-key']),
    ...text('traceparent', headers['traceparent']),
    headers: clientHeaders(headers),
    ...readMode(headers),
    placement: { set, reason, ...(typeof distanceKm === 'number' ? { distanceKm } : {}) },
  };
}

function foreignMessage({ body, routingKey, properties }: InboundMessage): ForeignMessage {
  const { headers, messageId, type, contentType, timestamp } = properties;
  const texts = Object.entries(headers).map(([name, value]) => [name.toLowerCase(), String(value)] as const);
  return {
    ...text('messageId', messageId),
    ...text('type', type),
    tag: routingKey,
    body,
    contentType: contentType ?? defaultContentType,
    headers: Object.fromEntries(texts),
    ...text('traceparent', headers['traceparent']),
    ...(timestamp === undefined ? {} : { publishedAtMs: timestamp * 1000 }),
  };
}

function clientHeaders(headers: AmqpProperties['headers']): Readonly<Record<string, string>> {
  const own = Object.entries(headers).filter(([name]) => name.startsWith(clientPrefix));
  return Object.fromEntries(own.map(([name, value]) => [name.slice(clientPrefix.length), String(value)]));
}

function modeOf(given: unknown): Mode | undefined {
  return given === 'confirm' || given === 'fast' ? given : undefined;
}

function text<Name extends string>(name: Name, value: unknown): { readonly [key in Name]?: string } {
  return typeof value === 'string' ? ({ [name]: value } as { readonly [key in Name]: string }) : {};
}
