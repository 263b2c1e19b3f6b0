/** How fast, and how much at once, a webhook is called: over one host, and over two that know of each other. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { at, cities, createClient } from '../stack/client.ts';
import { platforms, type RunningPlatform } from '../stack/platform.ts';
import { openScene, type Scene } from '../stack/scene.ts';
import { countRows } from '../stack/query.ts';
import { until } from '../stack/until.ts';
import type { WebhookCall } from '../stack/webhook-receiver.ts';

const deadlineMs = 30_000;
const perSecond = 5;
/** The first call of all opens connections, and so arrives later than it began. */
const firstArrivalMs = 700;

/** Never faster than the limit, seen from the receiver; that no span whatever has more is shown in rate-window.test.ts. */
function expectRate(calls: readonly WebhookCall[], limit: number): void {
  const spanMs = (calls.at(-1)?.atMs ?? 0) - (calls[0]?.atMs ?? 0);
  expect(spanMs).toBeGreaterThanOrEqual((Math.ceil(calls.length / limit) - 1) * 1_000 - firstArrivalMs);
}

describe.each(platforms)('flow control on $name', (platform) => {
  let scene: Scene;
  let second: RunningPlatform | undefined;

  beforeAll(async () => {
    scene = await openScene(platform, 'flow', {
      listeners: {
        limited: { rate: { limit: perSecond, per: 'second' } },
        retried: { rate: { limit: 2, per: 'second' }, retryDelaysMs: [100] },
        rarely: { rate: { limit: 1, per: 'hour' } },
        free: {},
        keyed: { perKey: 'one-at-a-time', retryDelaysMs: [100, 100] },
      },
      settings: { SETWAY_STOP_GRACE_SECONDS: '2' },
    });
  });
  afterAll(async () => {
    await second?.stop();
    await scene.stop();
  });

  const publish = (tag: string, count: number, more: object = {}) =>
    Promise.all(
      Array.from({ length: count }, async () => {
        const message = { topic: 'events', tag, body: 1, ...more };
        const { status, body } = await scene.client.publish(message, at(cities.berlin));
        expect(status).toBe(202);
        return body.id;
      }),
    );
  const callsOf = (path: string) => scene.receiver.calls.filter((call) => call.path === path);
  const waitFor = (path: string, amount: number) =>
    scene.receiver.waitFor(() => callsOf(path).length >= amount, deadlineMs);

  it('no second has more calls than the limit, and another subscription does not wait for it', async () => {
    await Promise.all([publish('limited', 4 * perSecond), publish('free', perSecond)]);
    await waitFor('/limited', 4 * perSecond);
    await waitFor('/free', perSecond);
    const lastOf = (path: string): number => callsOf(path).at(-1)?.atMs ?? 0;
    expect(lastOf('/free')).toBeLessThan(lastOf('/limited'));
    expectRate(callsOf('/limited'), perSecond);
    expect(new Set(callsOf('/limited').map(({ headers }) => headers['webhook-id'])).size).toBe(4 * perSecond);
  });

  it('retries count like first tries, and come to their turn beside them', async () => {
    scene.receiver.script('/retried', [{ status: 503 }, { status: 503 }]);
    await publish('retried', 6);
    await waitFor('/retried', 8);
    expectRate(callsOf('/retried'), 2);
  });

  it('what may not be called for long does not stay in the hands of a host', async () => {
    await publish('rarely', 4);
    await waitFor('/rarely', 1);
    const database = scene.deployment.databaseUrls['frankfurt'] ?? '';
    // Put off into the agenda, untried: RabbitMQ would take back what is not acked for half an hour.
    await until(deadlineMs, async () => {
      const waiting = await countRows(
        [database],
        'delivery',
        "subscription = 'rarely' AND state = 'RETRY' AND attempts = 0",
      );
      return waiting >= 1;
    });
    expect(await countRows([database], 'attempt', "subscription = 'rarely'")).toBe(1);
    expect(callsOf('/rarely')).toHaveLength(1);
  });

  it('deliveries of one key never overlap, though some fail and two hosts work; other keys go beside them', async () => {
    // On workerd a SET has one object; on Node a second process takes its share.
    if (platform.name === 'Node') second = await platform.start(scene.deployment);
    scene.receiver.holdAnswers('/keyed', 40);
    scene.receiver.script('/keyed', [{ status: 503 }, { status: 200 }, { status: 503 }]);
    await Promise.all(
      ['a', 'b', 'c'].map((key) => publish('keyed', 12, { key, route: { set: 'frankfurt' } })),
    );
    await waitFor('/keyed', 38);
    await until(deadlineMs, () => callsOf('/keyed').every(({ answeredAtMs }) => answeredAtMs !== undefined));
    const spans = Map.groupBy(callsOf('/keyed'), ({ headers }) => headers['setway-key']);
    expect(new Set(spans.keys())).toEqual(new Set(['a', 'b', 'c']));
    for (const calls of spans.values())
      calls.forEach((call, index) =>
        expect(call.atMs).toBeGreaterThanOrEqual(
          index === 0 ? 0 : (calls[index - 1]?.answeredAtMs ?? Infinity),
        ),
      );
    const isBesideAnother = (call: WebhookCall): boolean =>
      callsOf('/keyed').some((other) => other.atMs < call.atMs && (other.answeredAtMs ?? 0) > call.atMs);
    expect(callsOf('/keyed').some(isBesideAnother)).toBe(true);
  });
});

describe('two hosts of one SET', () => {
  it('share a limit', async () => {
    const [, node] = platforms;
    if (!node) throw new Error('No Node platform.');
    const scene = await openScene(node, 'share', {
      listeners: { shared: { rate: { limit: 6, per: 'second' } } },
    });
    const second = await node.start(scene.deployment);
    try {
      const knowsBoth = async ({ url }: RunningPlatform): Promise<boolean> => {
        const { body } = await createClient(url, scene.deployment).get<string>('/metrics');
        return body.includes('setway_live_hosts{set="frankfurt"} 2');
      };
      for (const host of [scene.server, second]) await until(deadlineMs, () => knowsBoth(host));
      const publish = (index: number) =>
        scene.client.publish({ topic: 'events', tag: 'shared', body: index, route: { set: 'frankfurt' } });
      await Promise.all(Array.from({ length: 24 }, (_, index) => publish(index)));
      await scene.receiver.waitFor((calls) => calls.length >= 24, deadlineMs);
      expectRate(scene.receiver.calls, 6);
    } finally {
      await second.stop();
      await scene.stop();
    }
  });
});
