/** How a subscription has its deliveries made and ended, and what a message says of its own. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { areDeliveries, at, cities, type ShownDelivery } from '../stack/client.ts';
import { platforms } from '../stack/platform.ts';
import { openScene, type Scene } from '../stack/scene.ts';
import { query } from '../stack/query.ts';

describe.each(platforms)('delivery policy on $name', (platform) => {
  let scene: Scene;

  beforeAll(async () => {
    scene = await openScene(platform, 'policy', {
      listeners: {
        formula: {
          retries: { kind: 'exponential', first: '200ms', factor: 2, max: '300ms', attempts: 4 },
        },
        strict: { nonRetryable: [503] },
        dropping: { atEnd: 'drop' },
        clamped: { maxRetryAfterMs: 1_000 },
        dressed: {
          method: 'PUT',
          headers: { authorization: 'Bearer of-the-shop', 'x-shop': 'subscription' },
        },
        plain: {},
        raw: {},
        impatient: { timeoutMs: 10_000 },
      },
    });
  });
  afterAll(() => scene.stop());

  const publish = async (tag: string, more: object = {}): Promise<string> => {
    const message = { topic: 'events', tag, body: { tag }, ...more };
    const { status, body } = await scene.client.publish(message, at(cities.berlin));
    expect(status).toBe(202);
    return body.id;
  };
  const fails = (name: string, count: number, answer: object = {}): void =>
    scene.receiver.script(
      `/${name}`,
      Array.from({ length: count }, () => ({ status: 503, ...answer })),
    );
  const delivery = async (id: string, name: string, state: string): Promise<ShownDelivery> => {
    const { deliveries } = await scene.client.message(id, areDeliveries(state, name));
    const [found] = deliveries;
    if (!found) throw new Error('No delivery.');
    return found;
  };
  /** From one call to the next. */
  const gaps = (id: string): readonly number[] => {
    const calls = scene.receiver.callsOf(id);
    return calls.slice(1).map(({ atMs }, index) => atMs - (calls[index]?.atMs ?? 0));
  };

  it('an exponential schedule waits longer and longer, up to its maximum, until its tries are over', async () => {
    fails('formula', 9);
    const id = await publish('formula');
    expect((await delivery(id, 'formula', 'DEAD')).attempts).toHaveLength(4);
    // Never early; how late is measured elsewhere.
    const waited = gaps(id);
    expect(waited.map((ms, index) => ms >= ([200, 300, 300][index] ?? 0) - 5)).toEqual([true, true, true]);
  });

  it('a status that is listed as non-retryable is not tried again', async () => {
    fails('strict', 1);
    const id = await publish('strict');
    expect((await delivery(id, 'strict', 'DEAD')).attempts).toMatchObject([{ status: 503, outcome: 'DEAD' }]);
  });

  it('a subscription that drops leaves no dead letter', async () => {
    fails('dropping', 3);
    const id = await publish('dropping');
    const { attempts } = await delivery(id, 'dropping', 'SKIPPED');
    expect(attempts.map(({ outcome }) => outcome)).toEqual(['RETRY', 'RETRY', 'SKIPPED']);
    expect(attempts.at(-1)?.error).toBe('HTTP 503');
    const database = scene.deployment.databaseUrls['frankfurt'] ?? '';
    expect(
      await query(database, "SELECT 1 FROM agenda WHERE kind = 'redeliver' AND subscription = 'dropping'"),
    ).toEqual([]);
    // What no try would help is dropped at once.
    scene.receiver.script('/dropping', [{ status: 400 }]);
    const refused = await delivery(await publish('dropping'), 'dropping', 'SKIPPED');
    expect(refused.attempts).toMatchObject([{ status: 400, outcome: 'SKIPPED' }]);
  });

  it('Retry-After asks for no longer wait than the subscription takes', async () => {
    fails('clamped', 1, { headers: { 'retry-after': '3600' } });
    const id = await publish('clamped');
    await delivery(id, 'clamped', 'DONE');
    expect(gaps(id)[0]).toBeGreaterThanOrEqual(990);
  });

  it('calls have the method and headers of the subscription, which go before those of the message', async () => {
    const id = await publish('dressed', { headers: { 'x-shop': 'message', 'x-own': '1' } });
    await delivery(id, 'dressed', 'DONE');
    const [call] = scene.receiver.callsOf(id);
    expect(call?.method).toBe('PUT');
    expect(call?.headers).toMatchObject({
      authorization: 'Bearer of-the-shop',
      'x-shop': 'subscription',
      'x-own': '1',
    });
    // They may be credentials: sealed where they are kept.
    const database = scene.deployment.databaseUrls['frankfurt'] ?? '';
    const [kept] = await query(database, 'SELECT document::text AS text FROM catalog');
    expect(kept?.['text']).toContain('x-shop');
    expect(kept?.['text']).not.toContain('of-the-shop');
  });

  it('a message brings its own tries, which outlive the way through the agenda', async () => {
    fails('plain', 9);
    const id = await publish('plain', { retries: { delays: ['100ms'], attempts: 5 } });
    const { attempts } = await delivery(id, 'plain', 'DEAD');
    expect(attempts).toHaveLength(5);
    fails('plain', 1);
    const once = await publish('plain', { retries: { attempts: 1 } });
    expect((await delivery(once, 'plain', 'DEAD')).attempts).toHaveLength(1);
  });

  it('and so does a raw publish, in a header', async () => {
    fails('raw', 9);
    const headers = {
      'setway-tag': 'raw',
      'setway-retries': '100ms, 200ms; attempts=4',
      ...at(cities.berlin),
    };
    const { status, body } = await scene.client.post('/v1/topics/events/messages', 'x', headers);
    expect(status).toBe(202);
    expect((await delivery(body.id, 'raw', 'DEAD')).attempts).toHaveLength(4);
    const refused = await scene.client.post('/v1/topics/events/messages', 'x', {
      'setway-retries': 'tomorrow',
    });
    expect(refused).toMatchObject({ status: 422, body: { errors: [{ at: 'Setway-Retries' }] } });
  });

  it('a message shortens the time of its calls', async () => {
    scene.receiver.script('/impatient', ['never']);
    const id = await publish('impatient', { retries: { timeout: '200ms', attempts: 1 } });
    const { attempts } = await delivery(id, 'impatient', 'DEAD');
    expect(attempts[0]?.error).toContain('within 200 ms');
  });
});
