/** A message as RabbitMQ carries it, both ways; the shape the broker contract and the envelope share. */
export interface AmqpProperties {
  readonly messageId?: string;
  readonly type?: string;
  readonly contentType?: string;
  /** Unix seconds. */
  readonly timestamp?: number;
  readonly appId?: string;
  readonly headers: Readonly<Record<string, string | number>>;
}

export interface OutboundMessage {
  readonly exchange: string;
  readonly routingKey: string;
  readonly body: Uint8Array;
  readonly properties: AmqpProperties;
}

export interface InboundMessage {
  readonly body: Uint8Array;
  readonly routingKey: string;
  readonly properties: AmqpProperties;
  /** The broker has handed it out before: it may have been handled already. */
  readonly redelivered: boolean;
  /** It came over a federated exchange: a copy of a message of another SET, which delivers it. */
  readonly isCopy?: true;
}
