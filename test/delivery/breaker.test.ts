import { describe, expect, it } from 'vitest';
import { createDeliveryBreaker } from '../../shared/delivery/breaker.ts';
import type { Answer } from '../../shared/delivery/courier.ts';
import { FakeClock } from '../consumer/fake-clock.ts';

const done: Answer = { verdict: 'done', status: 200, error: null, durationMs: 1 };
const failed: Answer = { verdict: 'retry', status: 500, error: 'HTTP 500', durationMs: 1 };
const silent: Answer = { verdict: 'retry', status: null, error: 'no answer', durationMs: 1 };

function open(rules = { failures: 3, maxWaitMs: 5_000 }) {
  const clock = new FakeClock();
  const breaker = createDeliveryBreaker({ clock, random: () => 0, rules: () => rules });
  const call = (answer: Answer | undefined): void => {
    breaker.began();
    breaker.ended(answer);
  };
  return { clock, breaker, call };
}

describe('the breaker of a webhook', () => {
  it('opens after so many failures in a row, and lets one call through when its wait is over', async () => {
    const { clock, breaker, call } = open();
    for (const answer of [failed, silent]) call(answer);
    expect(breaker.waitMs()).toBe(0);
    call(failed);
    expect([breaker.state, breaker.waitMs()]).toEqual(['open', 1_000]);
    await clock.move(1_000);
    expect([breaker.waitMs(), breaker.state]).toEqual([0, 'probing']);
    breaker.began();
    expect(breaker.waitMs()).toBe(Infinity);
    breaker.ended(done);
    expect([breaker.waitMs(), breaker.state]).toEqual([0, 'closed']);
  });

  it('waits twice as long after each probe that fails, up to its maximum, and begins anew after a success', async () => {
    const { clock, breaker, call } = open();
    for (const answer of [failed, failed, failed]) call(answer);
    const waits: number[] = [];
    for (let probe = 0; probe < 5; probe++) {
      waits.push(breaker.waitMs());
      await clock.move(breaker.waitMs());
      expect(breaker.waitMs()).toBe(0);
      call(silent);
    }
    expect(waits).toEqual([1_000, 2_000, 4_000, 5_000, 5_000]);
    await clock.move(5_000);
    expect(breaker.waitMs()).toBe(0);
    call(done);
    for (const answer of [failed, failed, failed]) call(answer);
    expect(breaker.waitMs()).toBe(1_000);
  });

  it.each([
    ['a success', done],
    ['a 404: the receiver lives', { ...failed, verdict: 'dead', status: 404 }],
    ['a 429: the receiver lives', { ...failed, status: 429 }],
  ] as const)('does not count on after %s', (_, answer) => {
    const { breaker, call } = open();
    for (const each of [failed, failed, answer, failed, failed]) call(each);
    expect(breaker.state).toBe('closed');
  });

  it('is not opened further by what was under way when it opened, but may be closed by it', () => {
    const { breaker, call } = open();
    for (let n = 0; n < 20; n++) breaker.began();
    for (let n = 0; n < 19; n++) breaker.ended(silent);
    expect(breaker.waitMs()).toBe(1_000);
    breaker.ended(done);
    expect(breaker.state).toBe('closed');
    call(failed);
    expect(breaker.state).toBe('closed');
  });

  it('probes again when nothing became known of a probe', async () => {
    const { clock, breaker, call } = open();
    for (const answer of [failed, failed, failed]) call(answer);
    await clock.move(1_000);
    expect(breaker.waitMs()).toBe(0);
    call(undefined);
    expect([breaker.waitMs(), breaker.state]).toEqual([0, 'probing']);
  });

  it('never opens when the subscription says so', () => {
    const { breaker, call } = open({ failures: 0, maxWaitMs: 5_000 });
    for (let n = 0; n < 500; n++) call(failed);
    expect(breaker.state).toBe('closed');
  });
});
