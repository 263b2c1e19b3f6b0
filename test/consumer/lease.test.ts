import { describe, expect, it } from 'vitest';
import { keepLease } from '../../shared/consumer/lease.ts';
import type { Guard } from '../../shared/idempotency/guard.ts';
import { Problem } from '../../shared/problem.ts';
import { FakeClock } from './fake-clock.ts';

type Renewal = 'held' | 'lost' | 'gone' | 'hanging';

/** A lease of 30 s over a guard that answers renewals as told; the last answer repeats. */
function hold(answers: readonly Renewal[], maxRunMs = 3_600_000) {
  const clock = new FakeClock();
  const startMs = clock.nowMs();
  const renewedAtMs: number[] = [];
  const renew = async (): Promise<boolean> => {
    const answer = answers[Math.min(renewedAtMs.length, answers.length - 1)];
    renewedAtMs.push(clock.nowMs() - startMs);
    if (answer === 'gone') throw new Problem('redis-unavailable', 'gone');
    if (answer === 'hanging') return new Promise(() => undefined);
    return answer === 'held';
  };
  const guard = { renew } as unknown as Guard;
  const lease = keepLease(
    { guard, clock },
    { key: 'k', token: 't', leaseMs: 30_000, sinceMs: startMs, maxRunMs },
  );
  return { clock, lease, renewedAtMs };
}

describe('keeping a lease', () => {
  it('renews at every third of the lease', async () => {
    const { clock, lease, renewedAtMs } = hold(['held']);
    await clock.move(45_000);
    expect(renewedAtMs).toEqual([10_000, 20_000, 30_000, 40_000]);
    expect(lease.signal.aborted).toBe(false);
  });

  it('fires the signal as soon as the guard says that the lease is lost', async () => {
    const { clock, lease, renewedAtMs } = hold(['held', 'lost']);
    await clock.move(19_999);
    expect(lease.signal.aborted).toBe(false);
    await clock.move(100_000);
    expect(lease.signal.aborted).toBe(true);
    expect(renewedAtMs).toEqual([10_000, 20_000]);
  });

  it('survives one renewal that could not be asked for', async () => {
    const { clock, lease } = hold(['gone', 'held']);
    await clock.move(100_000);
    expect(lease.signal.aborted).toBe(false);
  });

  it('fires at the end of a lease that was never renewed', async () => {
    const { clock, lease } = hold(['gone']);
    await clock.move(29_999);
    expect(lease.signal.aborted).toBe(false);
    await clock.move(1);
    expect(lease.signal.aborted).toBe(true);
  });

  it.each(['gone', 'hanging'] as const)(
    'fires at the end of the lease when the guard is %s',
    async (answer) => {
      const { clock, lease } = hold(['held', answer]);
      await clock.move(39_999); // renewed at 10 s, so the lease ends at 40 s
      expect(lease.signal.aborted).toBe(false);
      await clock.move(1);
      expect(lease.signal.aborted).toBe(true);
      expect(clock.waiting).toBe(0);
    },
  );

  it('lets a handler that hangs lose its message in the end', async () => {
    const { clock, lease } = hold(['held'], 60_000);
    await clock.move(59_999);
    expect(lease.signal.aborted).toBe(false);
    await clock.move(1);
    expect(lease.signal.aborted).toBe(true);
  });

  it('leaves no timer behind once stopped', async () => {
    const { clock, lease, renewedAtMs } = hold(['held']);
    await clock.move(10_000);
    lease.stop();
    await clock.move(100_000);
    expect(clock.waiting).toBe(0);
    expect(renewedAtMs).toEqual([10_000]);
    expect(lease.signal.aborted).toBe(false);
  });
});
