/** Names of streams: what is ordered for one subscription. Topics have no `/`, lanes and sessions may. */
export interface StreamName {
  readonly kind: 'lane' | 'session';
  readonly topic: string;
  /** The lane or the session. */
  readonly of: string;
}

/** @example streamOf('lane', 'orders', 'user-42') // 'lane/orders/user-42' */
export function streamOf(kind: StreamName['kind'], topic: string, of: string): string {
  return `${kind}/${topic}/${of}`;
}

export function readStream(stream: string): StreamName {
  const topicAt = stream.indexOf('/') + 1;
  const ofAt = stream.indexOf('/', topicAt) + 1;
  return {
    kind: stream.startsWith('session/') ? 'session' : 'lane',
    topic: stream.slice(topicAt, ofAt - 1),
    of: stream.slice(ofAt),
  };
}
