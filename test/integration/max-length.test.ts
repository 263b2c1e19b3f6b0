/** A queue at its maxLength: what does not fit is kept and seen, and comes when there is room again. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { areDeliveries, at, cities } from '../stack/client.ts';
import { platforms } from '../stack/platform.ts';
import { openScene, type Scene } from '../stack/scene.ts';
import { until } from '../stack/until.ts';

const deadlineMs = 25_000;
const maxLength = 5;
const json = { 'content-type': 'application/json' };

describe.each(platforms.filter(({ name }) => name === 'Node'))('a full queue on $name', (platform) => {
  let scene: Scene;
  beforeAll(async () => {
    scene = await openScene(platform, 'full', {
      listeners: { narrow: { maxLength, status: 'paused' } },
      settings: { SETWAY_RESEND_AFTER_SECONDS: '1' },
    });
  });
  afterAll(() => scene.stop());

  const publish = (wait: number) =>
    scene.client.publish(
      { topic: 'events', tag: 'narrow', body: 'x' },
      { ...at(cities.berlin), prefer: `wait=${wait}` },
    );

  it('refuses nobody, says what waits, and delivers all of it once there is room', async () => {
    const ids: string[] = [];
    // A quorum queue lets a few more through before it notices that it is full.
    await until(deadlineMs, async () => {
      const { status, body } = await publish(1);
      expect(status).toBe(202);
      ids.push(body.id);
      return body.state === 'stored';
    });
    expect(ids.length).toBeGreaterThan(maxLength);
    const waiting = ids.at(-1) ?? '';
    await scene.client.message(waiting, ({ sendAttempts }) => sendAttempts > 0, deadlineMs);
    expect((await scene.client.message(waiting, () => true)).state).toBe('READY');
    const { body: metrics } = await scene.client.get<string>('/metrics');
    const unknown = /^setway_sent_total\{set="frankfurt",outcome="unknown"\} (\d+)/m.exec(metrics);
    expect(Number(unknown?.[1])).toBeGreaterThan(0);

    const path = '/v1/subscriptions/narrow/resume';
    expect((await scene.operator.post(path, '', json)).status).toBe(200);
    for (const id of ids) await scene.client.message(id, areDeliveries('DONE', 'narrow'), deadlineMs);
    await scene.client.message(waiting, ({ state }) => state === 'CONFIRMED', deadlineMs);
  }, 90_000);
});
