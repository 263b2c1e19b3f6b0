/**
 * The guard in this process' memory, for unit tests and demonstrations: the same protocol, gone with the process, and
 * unknown to any other. Never for real messages.
 */
import { systemClock, type Clock } from '../clock.ts';
import type { Guard } from './guard.ts';

interface Held {
  readonly token: string;
  readonly fingerprint: string;
  readonly state: 'running' | 'done';
  readonly untilMs: number;
}

/** @example const handler = webhookHandler({ secrets, subscription: 'mail', guard: createMemoryGuard() }, handle); */
export function createMemoryGuard(clock: Pick<Clock, 'nowMs'> = systemClock): Guard {
  const keys = new Map<string, Held>();
  const heldAt = (key: string): Held | undefined => {
    const held = keys.get(key);
    if (held && held.untilMs > clock.nowMs()) return held;
    keys.delete(key);
    return undefined;
  };
  const runningBy = (key: string, token: string): Held | undefined => {
    const held = heldAt(key);
    return held?.token === token && held.state === 'running' ? held : undefined;
  };
  return {
    async reserve(key, fingerprint, leaseMs) {
      const held = heldAt(key);
      if (held && held.fingerprint !== fingerprint) return { outcome: 'mismatch' };
      if (held?.state === 'done') return { outcome: 'duplicate' };
      if (held) return { outcome: 'in-flight', retryAfterMs: held.untilMs - clock.nowMs() };
      const token = crypto.randomUUID();
      keys.set(key, { token, fingerprint, state: 'running', untilMs: clock.nowMs() + leaseMs });
      return { outcome: 'reserved', token };
    },
    async renew(key, token, leaseMs) {
      const held = runningBy(key, token);
      if (held) keys.set(key, { ...held, untilMs: clock.nowMs() + leaseMs });
      return held !== undefined;
    },
    async complete(key, token, { fingerprint, ttlMs }) {
      const held = heldAt(key);
      if (held && held.token !== token) return false;
      keys.set(key, { token, fingerprint, state: 'done', untilMs: clock.nowMs() + ttlMs });
      return true;
    },
    async release(key, token) {
      if (runningBy(key, token)) keys.delete(key);
    },
  };
}
