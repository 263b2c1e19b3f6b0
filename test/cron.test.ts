import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cronFault, nextTimes } from '../shared/cron.ts';
import { ticksDue } from '../shared/publish/run-schedule.ts';

const iso = (times: readonly number[]): readonly string[] => times.map((ms) => new Date(ms).toISOString());
const at = (text: string): number => Date.parse(text);

describe('the times of a cron expression', () => {
  it('an hour that does not come moves to the end of the gap', () => {
    const daily = { cron: '30 2 * * *', timeZone: 'Europe/Berlin' };
    expect(iso(nextTimes(daily, at('2026-03-27T12:00:00Z'), 3))).toEqual([
      '2026-03-28T01:30:00.000Z',
      '2026-03-29T01:00:00.000Z',
      '2026-03-30T00:30:00.000Z',
    ]);
  });

  it('an hour that comes twice has a daily time once, and every half hour of a stepped one', () => {
    const daily = { cron: '30 2 * * *', timeZone: 'Europe/Berlin' };
    expect(iso(nextTimes(daily, at('2026-10-24T12:00:00Z'), 2))).toEqual([
      '2026-10-25T00:30:00.000Z',
      '2026-10-26T01:30:00.000Z',
    ]);
    const stepped = { cron: '*/30 * * * *', timeZone: 'Europe/Berlin' };
    const times = nextTimes(stepped, at('2026-10-25T00:00:00Z'), 6);
    expect(times.map((ms, index) => ms - (times[index - 1] ?? at('2026-10-25T00:00:00Z')))).toEqual(
      times.map(() => 1_800_000),
    );
  });

  it('one after the other is the same as many at once, around every change of the clock', () => {
    const crons = fc.constantFrom(
      '30 2 * * *',
      '*/7 * * * *',
      '0 0 1 * *',
      '15 1-3 * * SUN',
      '59 59 23 * * *',
    );
    const zones = fc.constantFrom(
      'Europe/Berlin',
      'America/New_York',
      'Australia/Lord_Howe',
      'UTC',
      'Asia/Shanghai',
    );
    const days = fc.integer({ min: at('2026-01-01T00:00:00Z'), max: at('2027-01-01T00:00:00Z') });
    fc.assert(
      fc.property(crons, zones, days, (cron, timeZone, fromMs) => {
        const many = nextTimes({ cron, timeZone }, fromMs, 4);
        let before = fromMs;
        for (const time of many) {
          expect(time).toBeGreaterThan(before);
          expect(nextTimes({ cron, timeZone }, before, 1)).toEqual([time]);
          before = time;
        }
      }),
      { numRuns: 60 },
    );
  });

  it.each([
    ['* * * * *', 'UTC', undefined],
    ['*/5 * * * * *', 'Asia/Shanghai', undefined],
    ['0 9 * * MON-FRI', 'Europe/Berlin', undefined],
    ['* * * *', 'UTC', 'cron'],
    ['61 * * * *', 'UTC', 'cron'],
    ['@daily', 'UTC', 'cron'],
    ['* * * * * * *', 'UTC', 'cron'],
    ['0 0 30 2 *', 'UTC', 'cron'],
    ['', 'UTC', 'cron'],
    ['* * * * *', 'Mars/Base', 'timeZone'],
  ])('"%s" in %s: fault at %s', (cron, timeZone, place) => {
    expect(cronFault({ cron, timeZone })?.at).toBe(place);
  });
});

describe('the ticks that are due', () => {
  const hourly = { cron: '0 * * * *', timeZone: 'UTC', sinceMs: at('2026-05-01T00:30:00Z') };
  const due = (missed: 'skip' | 'one' | 'all', now: string, next?: string) => {
    const nextMs = next === undefined ? {} : { nextMs: at(next) };
    const ticks = ticksDue({ ...hourly, missed, nowMs: at(now), ...nextMs });
    return { publish: iso(ticks.publish), next: iso(ticks.nextMs === undefined ? [] : [ticks.nextMs])[0] };
  };
  const none = { publish: [], next: '2026-05-01T01:00:00.000Z' };
  const onTime = { publish: ['2026-05-01T01:00:00.000Z'], next: '2026-05-01T02:00:00.000Z' };

  it('none before the first tick, and none of before it was made', () => {
    for (const missed of ['skip', 'one', 'all'] as const)
      expect(due(missed, '2026-05-01T00:59:59.999Z')).toEqual(none);
  });

  it('a tick that is on time is published, whatever becomes of missed ones', () => {
    for (const missed of ['skip', 'one', 'all'] as const)
      expect(due(missed, '2026-05-01T01:00:00.004Z', '2026-05-01T01:00:00Z')).toEqual(onTime);
  });

  it('after an outage missed ticks are left out, made up for by one, or by one each', () => {
    const [now, next] = ['2026-05-01T03:20:00Z', '2026-05-01T01:00:00Z'] as const;
    const coming = '2026-05-01T04:00:00.000Z';
    expect(due('skip', now, next)).toEqual({ publish: [], next: coming });
    expect(due('one', now, next)).toEqual({ publish: ['2026-05-01T03:00:00.000Z'], next: coming });
    expect(due('all', now, next)).toEqual({
      publish: ['2026-05-01T01:00:00.000Z', '2026-05-01T02:00:00.000Z', '2026-05-01T03:00:00.000Z'],
      next: coming,
    });
    // The last one is on time: it is not missed.
    expect(due('skip', '2026-05-01T03:00:01Z', next)).toEqual({
      publish: ['2026-05-01T03:00:00.000Z'],
      next: coming,
    });
  });

  it('a long outage is made up for in portions', () => {
    const secondly = { cron: '* * * * * *', timeZone: 'UTC', missed: 'all', sinceMs: 0 } as const;
    const nextMs = at('2026-05-01T00:00:00Z');
    const first = ticksDue({ ...secondly, nowMs: at('2026-05-02T00:00:00Z'), nextMs });
    expect(first.publish).toHaveLength(100);
    expect(first.nextMs).toBe(nextMs + 100_000);
    const one = ticksDue({ ...secondly, missed: 'one', nowMs: at('2027-05-02T00:00:00.500Z'), nextMs });
    expect(iso(one.publish)).toEqual(['2027-05-02T00:00:00.000Z']);
  });
});
