/** A webhook that fails or hangs is left alone, harms nobody else, and is given up after long. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { areDeliveries, at, cities } from '../stack/client.ts';
import { platforms } from '../stack/platform.ts';
import { openScene, type Scene } from '../stack/scene.ts';
import { countRows, query } from '../stack/query.ts';
import { countConsumers } from '../stack/queue.ts';
import { until } from '../stack/until.ts';
import type { ScriptedAnswer } from '../stack/webhook-receiver.ts';

const deadlineMs = 30_000;
const concurrency = 4;

describe.each(platforms)('webhooks that fail on $name', (platform) => {
  let scene: Scene;

  beforeAll(async () => {
    const neverPaused = { failures: 0, maxWaitMs: 1_000 };
    scene = await openScene(platform, 'breaker', {
      listeners: {
        down: {
          concurrency,
          breaker: { failures: 3, maxWaitMs: 2_000 },
          retryDelaysMs: Array.from({ length: 20 }, () => 100),
        },
        hanging: { concurrency: 8, timeoutMs: 30_000, breaker: neverPaused, retryDelaysMs: [100, 100] },
        brisk: {},
        hopeless: {
          breaker: neverPaused,
          retryDelaysMs: Array.from({ length: 30 }, () => 200),
          disableAfter: { afterMs: 1_000, failures: 5 },
        },
        uneven: {
          // One by one: the answers count in the order they are given.
          concurrency: 1,
          breaker: neverPaused,
          retryDelaysMs: Array.from({ length: 30 }, () => 100),
          disableAfter: { afterMs: 1_000, failures: 5 },
        },
      },
      settings: { SETWAY_STOP_GRACE_SECONDS: '2' },
    });
  });
  afterAll(() => scene.stop());

  const database = (): string => scene.deployment.databaseUrls['frankfurt'] ?? '';
  const publish = async (tag: string, count: number): Promise<readonly string[]> => {
    const items = Array.from({ length: count }, (_, n) => ({
      topic: 'events',
      tag,
      body: { n },
      route: { set: 'frankfurt' },
    }));
    const { body } = await scene.client.post<{ readonly results: readonly { readonly id: string }[] }>(
      '/v1/messages/bulk',
      JSON.stringify(items),
      { 'content-type': 'application/json', ...at(cities.berlin) },
    );
    return body.results.map(({ id }) => id);
  };
  const script = (name: string, ...runs: readonly (readonly [number, ScriptedAnswer])[]): void =>
    scene.receiver.script(
      `/${name}`,
      runs.flatMap(([count, answer]) => Array.from({ length: count }, () => answer)),
    );
  const callsOf = (name: string) => scene.receiver.calls.filter(({ path }) => path === `/${name}`);
  const breaker = async (name: string): Promise<number | undefined> => {
    const { body } = await scene.client.get<string>('/metrics');
    const line = new RegExp(`setway_breaker_state\\{set="frankfurt",subscription="${name}"\\} (\\S+)`).exec(
      body,
    );
    return line ? Number(line[1]) : undefined;
  };

  it('are left alone after some failures, asked by one call now and then, and served when they are back', async () => {
    script('down', [1_000, { status: 500 }]);
    const ids = await publish('down', 40);
    await until(deadlineMs, async () => (await breaker('down')) === 1);
    const shown = await scene.operator.get('/v1/subscriptions/down');
    expect(shown.body).toMatchObject({
      status: 'active',
      waiting: [{ set: 'frankfurt', breaker: expect.stringMatching(/^(open|probing)$/) as string }],
    });
    // What was under way when it opened; then probes, one by one, each after a wait.
    await until(deadlineMs, () => callsOf('down').length >= concurrency + 4);
    const [first, ...others] = callsOf('down')
      .slice(concurrency + 2)
      .map(({ atMs }) => atMs);
    const gaps = others.map((at_, index) => at_ - ([first ?? 0, ...others][index] ?? 0));
    for (const gap of gaps) expect(gap).toBeGreaterThanOrEqual(900);
    scene.receiver.script('/down', []);
    await until(
      deadlineMs,
      async () =>
        (await countRows([database()], 'delivery', "subscription = 'down' AND state = 'DONE'")) ===
        ids.length,
    );
    await until(deadlineMs, async () => (await breaker('down')) === 0);
    expect((await scene.operator.get('/v1/subscriptions/down')).body).toMatchObject({ waiting: [] });
    // One after another for as long as it was down: 40 messages with 100 ms retries would have made hundreds of calls.
    expect(callsOf('down').length).toBeLessThan(ids.length + 3 * concurrency + 12);
  });

  it('hold no more than their own slots: the retry of another comes on time', async () => {
    script('hanging', [450, { status: 503 }], [2_000, 'never']);
    await publish('hanging', 450);
    await until(deadlineMs, () => callsOf('hanging').length > 450);
    script('brisk', [1, { status: 503 }]);
    const [id = ''] = await publish('brisk', 1);
    await scene.client.message(id, areDeliveries('DONE', 'brisk'), 20_000);
    const held = await countRows(
      [database()],
      'agenda',
      "subscription = 'hanging' AND due_at > now() + interval '10 seconds'",
    );
    expect(held).toBeLessThanOrEqual(8);
  });

  it('are given up after long, with the reason; a success now and then is enough to go on', async () => {
    script('hopeless', [1_000, { status: 404 }]);
    script(
      'uneven',
      ...Array.from(
        { length: 40 },
        () =>
          [
            [4, { status: 500 }],
            [1, { status: 200 }],
          ] as const,
      ).flat(),
    );
    await Promise.all([publish('hopeless', 6), publish('uneven', 4)]);
    const ended = Date.now() + deadlineMs;
    const stopped = () => query(database(), 'SELECT subscription, reason FROM disabled_subscription');
    const isKept = publishAgain(
      () => publish('uneven', 2).then(() => publish('hopeless', 1)),
      ended,
      stopped,
    );
    await isKept;
    const [found, ...others] = await stopped();
    expect(found).toMatchObject({
      subscription: 'hopeless',
      reason: expect.stringMatching(
        /^Nothing but failures for \d+s \(\d+ calls\); the last: HTTP 404$/,
      ) as string,
    });
    expect(others).toEqual([]);
    const vhost = scene.deployment.brokerUrls['frankfurt'] ?? '';
    await until(deadlineMs, async () => (await countConsumers(vhost, 'setway.sub.hopeless')) === 0);
    expect((await scene.client.get<string>('/metrics')).body).toContain(
      'setway_disabled_total{set="frankfurt",subscription="hopeless"} 1',
    );
  });
});

/** Goes on publishing until something was stopped. */
async function publishAgain(
  publish: () => Promise<unknown>,
  endMs: number,
  stopped: () => Promise<readonly unknown[]>,
): Promise<void> {
  await until(endMs - Date.now(), async () => {
    await publish();
    return (await stopped()).length > 0;
  });
}
