import { describe, expect, it } from 'vitest';
import { Problem } from '../../shared/problem.ts';
import { createTelemetry } from '../../shared/telemetry.ts';
import { openEdge } from './edge.ts';

const neverSettles = new Promise<never>(() => undefined);

/** A clock whose timers are due at once. */
const hasty = {
  nowMs: () => 0,
  after(_: number, task: () => void) {
    queueMicrotask(() => queueMicrotask(task));
    return () => undefined;
  },
};

describe('health', () => {
  it('is live whatever happens', async () => {
    const edge = openEdge({ catalog: { current: () => neverSettles } });
    expect((await edge.send('/health/live')).status).toBe(200);
    expect((await edge.send('/health/live', { method: 'HEAD' })).status).toBe(200);
  });

  it('is ready with one usable SET', async () => {
    const edge = openEdge({ isUsable: (set) => set === 'center' });
    expect(await (await edge.send('/health/ready')).json()).toEqual({ status: 'ready', usableSets: 1 });
  });

  it('is not ready without a usable SET', async () => {
    const answer = await openEdge({ isUsable: () => false }).send('/health/ready');
    expect(answer.status).toBe(503);
    expect(answer.headers.get('retry-after')).toBe('5');
  });

  it.each([
    ['fails', { current: () => Promise.reject(new Problem('database-unavailable', 'gone')) }],
    ['breaks', { current: () => Promise.reject(new Error('bug')) }],
    ['never answers', { current: () => neverSettles }],
  ])('is not ready when the catalog %s', async (_, catalog) => {
    const answer = await openEdge({ catalog, clock: hasty }).send('/health/ready');
    expect(answer.status).toBe(503);
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
  });
});

describe('metrics', () => {
  it('are this edge’s and every SET’s that answers in time', async () => {
    const edge = openEdge(
      { clock: { ...hasty, nowMs: () => Date.now() } },
      {
        hangzhou: {
          status: async () => ({
            set: 'hangzhou',
            host: 'h1',
            broker: 'connected',
            database: 'up',
            unconfirmed: 0,
            metrics: [{ name: 'setway_stored_total', labels: ['hangzhou'], value: 3 }],
          }),
        },
        frankfurt: { status: () => neverSettles },
      },
    );
    await edge.publishGood();
    const answer = await edge.send('/metrics', { key: edge.keyFor(['read']) });
    const text = await answer.text();
    expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(text).toContain('setway_http_requests_total{route="/v1/messages",status="202"} 1');
    expect(text).toContain('setway_stored_total{set="hangzhou"} 3');
    expect(text).toContain('# SET frankfurt: set-unavailable');
  });

  it('count a host of this very process once', async () => {
    const telemetry = createTelemetry();
    const status = async () => ({
      set: 'hangzhou',
      host: 'h1',
      broker: 'connected' as const,
      database: 'up' as const,
      unconfirmed: 0,
      metrics: telemetry.snapshot(),
    });
    const edge = openEdge({ telemetry, metricsAccess: 'open' }, { hangzhou: { status }, center: { status } });
    telemetry.count('setway_stored_total', { set: 'hangzhou' }, 3);
    const text = await (await edge.send('/metrics')).text();
    expect(text).toContain('setway_stored_total{set="hangzhou"} 3\n');
  });
});
