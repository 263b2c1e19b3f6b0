import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { verifyWebhook } from '../../shared/webhook/signature.ts';
import { platforms } from '../stack/platform.ts';
import type { Client, ProblemBody, Reply } from '../stack/client.ts';
import { until } from '../stack/until.ts';
import type { WebhookCall } from '../stack/webhook-receiver.ts';
import { openScene, type Scene } from '../stack/scene.ts';

interface Shown {
  readonly name: string;
  readonly status: string;
  readonly bindings: readonly string[];
  readonly concurrency: number;
  readonly secret?: string;
}

interface TryOut {
  readonly verdict: string;
  readonly status: number | null;
  readonly error: string | null;
}

interface Refusal extends ProblemBody {
  readonly errors?: readonly { readonly at: string }[];
}

const json = { 'content-type': 'application/json' };

function make<T = Shown>(client: Client, path: string, fields: object, headers = {}): Promise<Reply<T>> {
  return client.post<T>(path, JSON.stringify(fields), { ...json, ...headers });
}

function change<T = Shown>(client: Client, path: string, fields: object, ifMatch?: string) {
  const headers = { ...json, ...(ifMatch === undefined ? {} : { 'if-match': ifMatch }) };
  return client.send<T>(path, { method: 'PATCH', body: JSON.stringify(fields), headers });
}

function remove<T = Shown>(client: Client, path: string, ifMatch?: string) {
  return client.send<T>(path, {
    method: 'DELETE',
    headers: ifMatch === undefined ? {} : { 'if-match': ifMatch },
  });
}

const etagOf = (reply: Reply<unknown>): string => reply.headers.get('etag') ?? '';

describe.each(platforms)('topics and subscriptions over HTTP on $name', (platform) => {
  let scene: Scene;
  beforeAll(async () => void (scene = await openScene(platform, 'subs', { listeners: { plain: {} } })));
  afterAll(() => scene.stop());

  const hook = (name: string) => ({
    name,
    topic: 'events',
    bindings: [name],
    endpoint: { url: `${scene.receiver.url}/${name}` },
  });

  it('creates, shows, changes and deletes a topic, each version by its name', async () => {
    const made = await make(scene.operator, '/v1/topics', { name: 'bills', type: 'direct' });
    expect(made).toMatchObject({ status: 201, body: { name: 'bills', type: 'direct', scope: 'anywhere' } });
    expect((await make(scene.operator, '/v1/topics', { name: 'bills' })).status).toBe(409);
    const read = await scene.operator.get('/v1/topics/bills');
    expect(etagOf(read)).toBe(etagOf(made));
    expect((await change(scene.operator, '/v1/topics/bills', { scope: 'center' })).status).toBe(428);
    const changed = await change(scene.operator, '/v1/topics/bills', { scope: 'center' }, etagOf(read));
    expect(changed).toMatchObject({ status: 200, body: { type: 'direct', scope: 'center' } });
    expect((await change(scene.operator, '/v1/topics/bills', { type: 'topic' }, etagOf(read))).status).toBe(
      412,
    );
    expect((await remove(scene.operator, '/v1/topics/bills')).status).toBe(428);
    expect((await remove(scene.operator, '/v1/topics/bills', etagOf(changed))).status).toBe(200);
    expect((await scene.operator.get('/v1/topics/bills')).status).toBe(404);
  });

  it('keeps others, and those who may only read, out', async () => {
    for (const path of ['/v1/topics/events', '/v1/subscriptions/plain']) {
      expect((await scene.stranger.get(path)).status).toBe(404);
      expect((await change(scene.stranger, path, {}, '*')).status).toBe(404);
      expect((await remove(scene.stranger, path, '*')).status).toBe(404);
      expect((await scene.client.get(path)).status).toBe(200);
      expect((await change(scene.client, path, {}, '*')).status).toBe(403);
    }
    expect((await make(scene.stranger, '/v1/subscriptions', hook('spy'))).status).toBe(404);
    const listed = await scene.stranger.get<{ subscriptions: unknown[] }>('/v1/subscriptions');
    expect(listed.body.subscriptions).toEqual([]);
  });

  it('shows the secret once, and the deliveries are signed with it', async () => {
    const made = await make(scene.operator, '/v1/subscriptions', hook('mail'), {
      'idempotency-key': 'mail-1',
    });
    expect(made.status).toBe(201);
    const { secret = '' } = made.body;
    // The same request again is the same subscription; another one under its key is refused.
    const again = await make(scene.operator, '/v1/subscriptions', hook('mail'), {
      'idempotency-key': 'mail-1',
    });
    expect(again).toMatchObject({ status: 201, body: { secret } });
    const other = { ...hook('mail'), concurrency: 7 };
    const clash = await make(scene.operator, '/v1/subscriptions', other, { 'idempotency-key': 'mail-1' });
    expect(clash.status).toBe(422);
    const read = await scene.operator.get('/v1/subscriptions/mail');
    expect(read).toMatchObject({ status: 200, body: { kind: 'webhook', status: 'active' } });
    expect(JSON.stringify(read.body)).not.toContain('whsec_');
    const { body, headers } = await heardBy(scene, 'mail');
    const signed = new Headers(Object.entries(headers).map(([name, value]) => [name, String(value)]));
    expect(() =>
      verifyWebhook(body, signed, { secrets: [secret], nowSeconds: Date.now() / 1000 }),
    ).not.toThrow();
  });

  it('signs with both secrets while one takes over, and tries a webhook out', async () => {
    const made = await make(scene.operator, '/v1/subscriptions', { ...hook('turn'), concurrency: 2 });
    const { secret: old = '' } = made.body;
    const rotated = await make(scene.operator, '/v1/subscriptions/turn/rotate-secret', { overlap: '1h' });
    const { secret: fresh = '' } = rotated.body;
    expect(rotated).toMatchObject({ status: 200, body: { retiringUntil: [expect.any(String)] } });
    scene.receiver.script('/turn', [{ status: 503, body: 'asleep' }]);
    const tried = await until(20_000, async () => {
      const reply = await make<TryOut>(scene.operator, '/v1/subscriptions/turn/test', {});
      return reply.status === 200 && reply;
    });
    expect(tried.body).toMatchObject({ verdict: 'retry', status: 503, error: 'HTTP 503: asleep' });
    const isSignedBy = (call: WebhookCall, secret: string): boolean => {
      const signed = new Headers(Object.entries(call.headers).map(([name, value]) => [name, String(value)]));
      try {
        verifyWebhook(call.body, signed, { secrets: [secret], nowSeconds: Date.now() / 1000 });
        return true;
      } catch {
        return false;
      }
    };
    const latest = async (): Promise<WebhookCall | undefined> => {
      await make(scene.operator, '/v1/subscriptions/turn/test', {});
      return scene.receiver.calls.findLast(({ path }) => path === '/turn');
    };
    await until(20_000, async () => {
      const call = await latest();
      return call && isSignedBy(call, fresh) && isSignedBy(call, old);
    });
    // Without an overlap the ones before end at once.
    const last = await make(scene.operator, '/v1/subscriptions/turn/rotate-secret', { overlap: 0 });
    await until(20_000, async () => {
      const call = await latest();
      return call && isSignedBy(call, last.body.secret ?? '') && !isSignedBy(call, fresh);
    });
  });

  it('names every fault where it stands', async () => {
    const faultsOf = async (fields: object): Promise<readonly unknown[]> => {
      const { status, body } = await make<Refusal>(scene.operator, '/v1/subscriptions', fields);
      return [status, ...(body.errors ?? []).map(({ at }) => at)];
    };
    expect(await faultsOf({ ...hook('Bad-Name'), concurrency: 0 })).toEqual([422, '/name', '/concurrency']);
    expect(await faultsOf({ ...hook('x'), owner: 'rival' })).toEqual([422, '/owner']);
    expect(await faultsOf({ ...hook('x'), bindngs: ['#'] })).toEqual([422, '/bindngs']);
    expect(await faultsOf({ ...hook('x'), endpoint: { url: 'http://10.0.0.1/' } })).toEqual([
      422,
      '/endpoint/url',
    ]);
    expect(await faultsOf({ ...hook('x'), topic: 'nothing' })).toEqual([404]);
    expect(await faultsOf({ ...hook('x'), kind: 'amqp' })).toEqual([422, '/endpoint']);
    const patch = await change<Refusal>(scene.operator, '/v1/subscriptions/plain', { topic: 'x' }, '*');
    expect([patch.status, patch.body.errors?.[0]?.at]).toEqual([422, '/topic']);
  });

  it('what is pulled has a secret for its callbacks, and another one when asked', async () => {
    const pulled = { name: 'pulled-secret', topic: 'events', kind: 'pull' };
    const made = await make<{ readonly secret: string }>(scene.operator, '/v1/subscriptions', pulled);
    expect(made.body.secret).toMatch(/^whsec_/);
    const rotated = await make<{ readonly secret: string }>(
      scene.operator,
      '/v1/subscriptions/pulled-secret/rotate-secret',
      {},
    );
    expect([rotated.status, rotated.body.secret.startsWith('whsec_')]).toEqual([200, true]);
  });

  it('a topic that is heard keeps its type and stays', async () => {
    expect((await change(scene.operator, '/v1/topics/events', { type: 'direct' }, '*')).status).toBe(409);
    expect((await remove(scene.operator, '/v1/topics/events', '*')).status).toBe(409);
  });

  it('thirty at once lose nothing, and two changes of one are told apart', async () => {
    const names = Array.from({ length: 30 }, (_, index) => `many-${String(index).padStart(2, '0')}`);
    const made = await Promise.all(
      names.map((name) => make(scene.operator, '/v1/subscriptions', hook(name))),
    );
    expect(made.map(({ status }) => status)).toEqual(names.map(() => 201));
    const [first] = made;
    if (!first) throw new RangeError('None was made.');
    const both = await Promise.all(
      [1, 2].map((concurrency) =>
        change(scene.operator, '/v1/subscriptions/many-00', { concurrency }, etagOf(first)),
      ),
    );
    expect(new Set(both.map(({ status }) => status))).toEqual(new Set([200, 412]));
    const listed: string[] = [];
    let path: string | undefined = '/v1/subscriptions?topic=events&limit=7';
    while (path !== undefined) {
      const { body }: Reply<{ subscriptions: Shown[]; next?: string }> = await scene.operator.get(path);
      listed.push(...body.subscriptions.map(({ name }) => name));
      path =
        body.next === undefined ? undefined : `/v1/subscriptions?topic=events&limit=7&cursor=${body.next}`;
    }
    expect(listed.filter((name) => name.startsWith('many-'))).toEqual(names);
    expect(new Set(listed).size).toBe(listed.length);
  });

  it('the center away, nothing changes and everything is still read', async () => {
    const { settings } = scene.deployment;
    const [center = '', ...others] = (settings['SETWAY_CATALOG_DATABASES'] ?? '').split(',');
    const away = new URL(center);
    away.port = '1';
    const edge = await platform.start(scene.deployment, {
      SETWAY_CATALOG_DATABASES: [away.href, ...others].join(','),
      SETWAY_HOSTED_SETS: 'none',
    });
    try {
      const headers = { authorization: `Bearer ${scene.deployment.apiKey}` };
      const read = await fetch(`${edge.url}/v1/subscriptions/plain`, { headers });
      expect(read.status).toBe(200);
      const operator = scene.operatorAt(edge.url);
      const refused = await make(operator, '/v1/subscriptions', hook('late'));
      expect(refused.status).toBe(503);
      expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    } finally {
      await edge.stop();
    }
  });
});

/** Publishes to the subscription's tag until it hears one. */
async function heardBy(scene: Scene, name: string) {
  const publish = (): Promise<unknown> =>
    scene.client.publish({ topic: 'events', tag: name, body: { name } });
  const again = setInterval(() => void publish().catch(() => undefined), 200);
  try {
    return await scene.receiver.waitFor((calls) => calls.find(({ path }) => path === `/${name}`), 20_000);
  } finally {
    clearInterval(again);
  }
}
