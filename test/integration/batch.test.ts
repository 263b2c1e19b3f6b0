/** A batch: one message, one commit, one webhook call with all items, or nothing of it. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { webhookHandler } from '../../shared/consumer/consumer.ts';
import { areDeliveries, type ProblemBody, type Published } from '../stack/client.ts';
import { secretOf } from '../stack/listeners.ts';
import { platforms } from '../stack/platform.ts';
import { openScene, type Scene } from '../stack/scene.ts';
import { countRows } from '../stack/query.ts';

interface Batch extends Published {
  readonly session: string;
  readonly size: number;
}

const json = { 'content-type': 'application/json' };
const items = [
  { id: 'a', body: { n: 1 } },
  { id: 'b', bodyBase64: 'AP8=', contentType: 'image/png' },
  { body: 'three' },
];

describe.each(platforms)('a batch on $name', (platform) => {
  let scene: Scene;

  beforeAll(async () => {
    scene = await openScene(platform, 'batch', { listeners: { plain: {} } });
  });
  afterAll(() => scene.stop());

  const send = <T = Batch>(more: object, headers = {}) =>
    scene.client.post<T>(
      '/v1/batches',
      JSON.stringify({ topic: 'events', tag: 'plain', messages: items, ...more }),
      { ...json, ...headers },
    );
  const stored = () => countRows(Object.values(scene.deployment.databaseUrls), 'message');

  it('is one message and one call, whose items a handler gets one by one', async () => {
    const before = await stored();
    const { status, body, headers } = await send({ session: 'import-17', key: 'user-1' });
    expect(status).toBe(202);
    expect(body).toMatchObject({ session: 'import-17', size: 3, state: 'stored', duplicate: false });
    expect(headers.get('location')).toBe(`/v1/messages/${body.id}`);
    expect(await scene.client.message(body.id, areDeliveries('DONE', 'plain'))).toMatchObject({
      session: 'import-17',
      batchSize: 3,
      contentType: 'application/vnd.setway.batch+json',
    });
    expect(await stored()).toBe(before + 1);
    const [call, ...more] = scene.receiver.callsOf(body.id);
    expect(more).toEqual([]);
    expect(call?.headers).toMatchObject({ 'setway-session': 'import-17', 'setway-size': '3' });
    const seen: unknown[] = [];
    const handle = webhookHandler(
      { secrets: [secretOf(scene.deployment.seed, 'plain')], subscription: 'plain', guard: 'handler' },
      async (message) => {
        seen.push(message.batch);
        for (const item of message.items())
          seen.push([item.id, item.contentType, Buffer.from(item.bytes).toString('hex')]);
        seen.push(message.items()[0]?.json());
      },
    );
    const request = new Request('https://example.com/', {
      method: 'POST',
      headers: call?.headers as Record<string, string>,
      body: new Uint8Array(call?.body ?? []),
    });
    expect((await handle(request)).status).toBe(200);
    expect(seen).toEqual([
      { session: 'import-17', size: 3 },
      ['a', 'application/json', Buffer.from('{"n":1}').toString('hex')],
      ['b', 'image/png', '00ff'],
      [null, 'application/json', Buffer.from('"three"').toString('hex')],
      { n: 1 },
    ]);
  });

  it('is repeated by its key with the same session, also when the first answer was lost', async () => {
    const before = await stored();
    const key = { 'idempotency-key': 'batch-1' };
    const answers = [...(await Promise.all([send({}, key), send({}, key)])), await send({}, key)];
    const taken = answers.filter(({ status }) => status === 202).map(({ body }) => body);
    expect(answers.every(({ status }) => status === 202 || status === 409)).toBe(true);
    expect(new Set(taken.map(({ id, session }) => `${id} ${session}`)).size).toBe(1);
    expect(taken.at(-1)?.duplicate).toBe(true);
    expect((await send({ messages: items.slice(1) }, key)).status).toBe(422);
    expect(await stored()).toBe(before + 1);
  });

  it('waits for its time as one', async () => {
    const { body } = await send({ deliverAfter: 2 });
    expect(body.state).toBe('scheduled');
    const { deliverAt } = await scene.client.message(body.id, ({ state }) => state === 'SCHEDULED');
    const call = await scene.receiver.waitFor(() => scene.receiver.callsOf(body.id)[0], 20_000);
    expect(call.atMs).toBeGreaterThanOrEqual(new Date(deliverAt ?? '').getTime());
    expect(call.headers['setway-size']).toBe('3');
  });

  it('comes again whole when the webhook failed', async () => {
    scene.receiver.script('/plain', [{ status: 503 }]);
    const { body } = await send({});
    await scene.client.message(body.id, areDeliveries('DONE', 'plain'));
    const [first, second, ...more] = scene.receiver.callsOf(body.id);
    expect(more).toEqual([]);
    expect(second?.body.equals(first?.body ?? Buffer.alloc(0))).toBe(true);
  });

  it('that nobody can take is a dead letter as a whole, and the next one is delivered', async () => {
    scene.receiver.script('/plain', [{ status: 422 }]);
    const poison = await send({});
    await scene.client.message(poison.body.id, areDeliveries('DEAD', 'plain'));
    const next = await send({});
    await scene.client.message(next.body.id, areDeliveries('DONE', 'plain'));
    expect([poison, next].map(({ body }) => scene.receiver.callsOf(body.id).length)).toEqual([1, 1]);
  });

  it('is refused whole: one bad item, a name twice, too much of it', async () => {
    const before = await stored();
    const refused = await send<ProblemBody>({ messages: [...items, { tpic: 1, body: 1 }] });
    expect(refused).toMatchObject({ status: 422, body: { errors: [{ at: '/messages/3/tpic' }] } });
    const twice = await send<ProblemBody>({ messages: [...items, { id: 'a', body: 1 }] });
    expect(twice).toMatchObject({ status: 422, body: { errors: [{ at: '/messages/3/id' }] } });
    expect((await send({ messages: [] })).status).toBe(422);
    const large = { messages: Array.from({ length: 12 }, () => ({ body: 'x'.repeat(100_000) })) };
    const tooLarge = await send<ProblemBody>(large);
    expect(tooLarge.status).toBe(413);
    expect(tooLarge.body.detail).toMatch(/has 120\d{4} bytes; a message has at most 1048576/);
    expect(await stored()).toBe(before);
  });

  it('holds a thousand items', async () => {
    const messages = Array.from({ length: 1000 }, (_, n) => ({
      id: `line-${n}`,
      body: { n, sku: 'tea', quantity: 2 },
    }));
    const { status, body } = await send({ messages });
    expect([status, body.size]).toEqual([202, 1000]);
    const call = await scene.receiver.waitFor(() => scene.receiver.callsOf(body.id)[0], 20_000);
    expect((JSON.parse(call.body.toString()) as unknown[]).length).toBe(1000);
  });
});
