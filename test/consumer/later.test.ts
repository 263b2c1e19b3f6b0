import { describe, expect, it } from 'vitest';
import { answerLater, deliveriesOf, webhookHandler } from '../../shared/consumer/consumer.ts';
import { signedRequest } from '../../shared/consumer/testing.ts';
import { createMemoryGuard } from '../../shared/idempotency/memory-guard.ts';
import { FakeClock } from './fake-clock.ts';
import { secret } from './signed-request.ts';

describe('a handler that answers later', () => {
  it('answers 202 with its lease, keeps copies away while it lasts, and lets the next try in', async () => {
    const clock = new FakeClock();
    const seen: string[] = [];
    const POST = webhookHandler(
      { secrets: [secret], subscription: 'print', guard: createMemoryGuard(clock), clock },
      async ({ delivery }) => {
        seen.push(delivery);
        return answerLater({ lease: '30m' });
      },
    );
    const sent = { secret, body: { page: 1 }, id: 'msg_1', signedAtMs: clock.nowMs() };
    const first = await POST(signedRequest({ ...sent, delivery: 'dlv_1' }));
    expect([first.status, first.headers.get('setway-async'), first.headers.get('setway-lease')]).toEqual([
      202,
      '1',
      '30m',
    ]);
    expect((await POST(signedRequest({ ...sent, delivery: 'dlv_1' }))).status).toBe(409);
    await clock.move(30 * 60_000);
    const next = signedRequest({ ...sent, signedAtMs: clock.nowMs(), delivery: 'dlv_2', attempt: 2 });
    expect((await POST(next)).status).toBe(202);
    expect(seen).toEqual(['dlv_1', 'dlv_2']);
  });

  it('may ask for no more than a day', () => {
    expect(answerLater()).toEqual({ answer: 'later', leaseMs: 600_000 });
    expect(() => answerLater({ lease: '25h' })).toThrow('longest duration');
  });
});

describe('saying what became of a delivery', () => {
  function setway(...answers: readonly (Response | Error)[]) {
    const asked: [string, unknown][] = [];
    const waits: number[] = [];
    const left = [...answers];
    const deliveries = deliveriesOf({
      url: 'https://setway.example/',
      fetch: async (url, init) => {
        const request = new Request(url, init);
        asked.push([request.url, await request.json()]);
        const answer = left.shift() ?? new Response('{}');
        if (answer instanceof Error) throw answer;
        return answer;
      },
      sleep: async (ms) => void waits.push(ms),
    });
    return { asked, waits, deliveries };
  }
  const problem = (status: number, type: string) =>
    new Response(JSON.stringify({ type: `/problems/${type}` }), { status });

  it('asks the door of its id', async () => {
    const { asked, deliveries } = setway();
    await deliveries.done('dlv_1');
    await deliveries.failed('dlv_1', { error: 'paper', retry: 'never' });
    await deliveries.extend('dlv_1', 90);
    expect(asked).toEqual([
      ['https://setway.example/v1/deliveries/dlv_1/done', {}],
      ['https://setway.example/v1/deliveries/dlv_1/failed', { error: 'paper', retry: 'never' }],
      ['https://setway.example/v1/deliveries/dlv_1/extend', { lease: '1m30s' }],
    ]);
  });

  it('says it again while nobody answers, or the lease is not written yet', async () => {
    const { asked, waits, deliveries } = setway(
      new Error('reset'),
      problem(503, 'set-unavailable'),
      problem(409, 'in-flight'),
    );
    await deliveries.failed('dlv_1');
    expect([asked.length, waits]).toEqual([4, [500, 1000, 2000]]);
  });

  it('tells what cannot be mended by saying it again', async () => {
    const { asked, deliveries } = setway(problem(409, 'conflict'), problem(404, 'not-found'));
    await expect(deliveries.failed('dlv_1')).rejects.toMatchObject({ kind: 'conflict' });
    await expect(deliveries.done('dlv_2')).rejects.toMatchObject({ kind: 'not-found' });
    expect(asked).toHaveLength(2);
  });
});
