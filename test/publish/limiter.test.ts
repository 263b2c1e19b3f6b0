import { describe, expect, it, vi } from 'vitest';
import type { Buckets, Wanted } from '../../shared/catalog/publish-limit.ts';
import { Problem } from '../../shared/problem.ts';
import { createLimiter } from '../../shared/publish/limiter.ts';
import { createTelemetry } from '../../shared/telemetry.ts';
import { FakeClock } from '../consumer/fake-clock.ts';

const wanted: readonly Wanted[] = [
  { id: 'key:1', limit: { limit: 2, of: 'messages', per: 'minute' }, amount: 1 },
];
const level = { waitMs: 0, remaining: 7, fullAfterMs: 0 };

function open(take: Buckets['take']) {
  const clock = new FakeClock();
  const shared = { take: vi.fn<Buckets['take']>(take) };
  const telemetry = createTelemetry();
  const limiter = createLimiter({ shared, clock, telemetry, deadlineMs: 250 });
  const alone = (): number =>
    telemetry.snapshot().find(({ name }) => name === 'setway_rate_limit_local_total')?.value ?? 0;
  return { clock, limiter, shared, alone };
}

describe('the limiter of an edge', () => {
  it('asks what all edges share', async () => {
    const { limiter, alone } = open(async () => [level]);
    expect(await limiter.take(wanted)).toEqual([level]);
    expect(alone()).toBe(0);
  });

  it('counts alone while Redis is away, and refuses then as well', async () => {
    const { limiter, shared, alone } = open(() => Promise.reject(new Problem('redis-unavailable', 'away')));
    const waits = [];
    for (let request = 0; request < 3; request++) waits.push((await limiter.take(wanted))[0]?.waitMs);
    expect(waits).toEqual([0, 0, 30_000]);
    expect(alone()).toBe(3);
    // Asked once, and left alone after that.
    expect(shared.take).toHaveBeenCalledOnce();
  });

  it('does not wait for a Redis that is slow, and asks again after a moment', async () => {
    let isSlow = true;
    const { clock, limiter, shared } = open(() =>
      isSlow ? new Promise(() => undefined) : Promise.resolve([level]),
    );
    const first = limiter.take(wanted);
    await clock.move(250);
    expect(await first).toMatchObject([{ waitMs: 0, remaining: 1 }]);
    isSlow = false;
    await clock.move(1_000);
    expect(await limiter.take(wanted)).toEqual([level]);
    expect(shared.take).toHaveBeenCalledTimes(2);
  });
});
