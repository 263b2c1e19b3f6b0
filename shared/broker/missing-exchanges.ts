/**
 * Exchanges RabbitMQ would not publish to (404, 403). Each publish to one closes the channel and makes everything in
 * flight unknown, so they are left alone for a while: the first such message costs the others once, its resends do not.
 */
import type { Clock } from '../clock.ts';
import { reasonOf } from './amqp-problem.ts';

/** At most one lost channel per exchange and this time; declaring the topology ends it at once. */
const avoidMs = 5000;

export interface MissingExchanges {
  /** Learns from the error that closed a publishing channel. */
  learn(error: unknown): void;
  has(exchange: string): boolean;
  /** The topology was declared: all may be there again. */
  forget(): void;
}

/** @param onMissing called for each exchange found missing, to declare it again */
export function createMissingExchanges(
  clock: Clock,
  onMissing: (exchange: string) => void,
): MissingExchanges {
  const untilMs = new Map<string, number>();
  return {
    learn(error) {
      // `NOT_FOUND - no exchange 'x' in vhost 'v'`, `ACCESS_REFUSED - access to exchange 'x' in vhost …`
      const exchange = /exchange '([^']*)' in vhost/.exec(reasonOf(error))?.[1];
      if (exchange === undefined) return;
      untilMs.set(exchange, clock.nowMs() + avoidMs);
      onMissing(exchange);
    },
    has(exchange) {
      const until = untilMs.size === 0 ? undefined : untilMs.get(exchange);
      if (until === undefined) return false;
      if (until > clock.nowMs()) return true;
      untilMs.delete(exchange);
      return false;
    },
    forget: () => untilMs.clear(),
  };
}
