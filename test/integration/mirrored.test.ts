/** Messages of a mirrored topic are in two SETs' databases before their 202, whichever of the others is away. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { auditAfter } from '../../scheduled/audit.ts';
import { endCopies } from '../../scheduled/end-copies.ts';
import { parseMessageId, toUuid } from '../../shared/identifier.ts';
import { areDeliveries, at, cities, type Published } from '../stack/client.ts';
import { useStack } from '../stack/current-stack.ts';
import { directSettings } from '../stack/deployment.ts';
import { openJobProcess } from '../stack/job-process.ts';
import { platforms } from '../stack/platform.ts';
import { query } from '../stack/query.ts';
import { openScene, type Scene } from '../stack/scene.ts';
import { startTcpProxy, type TcpProxy } from '../stack/tcp-proxy.ts';

const everyMessage = ['#'];

describe.each(platforms)('a mirrored topic on $name', (platform) => {
  let scene: Scene;
  let center: TcpProxy;

  beforeAll(async () => {
    // The nearest of the others to Hangzhou is the center, in Singapore; the next one is Frankfurt.
    center = await startTcpProxy(useStack().postgresUrl);
    scene = await openScene(platform, 'mirrored', {
      listeners: { kept: { bindings: everyMessage, topic: 'ledgers' } },
      change: (seed) => ({
        ...seed,
        sets: seed.sets.map((set) =>
          set.id === 'center'
            ? { ...set, databaseUrls: set.databaseUrls.map((url) => center.through(url)) }
            : set,
        ),
        topics: [
          ...(seed.topics ?? []),
          { name: 'ledgers', owner: 'demo', durability: 'mirrored' },
          { name: 'headquarters', owner: 'demo', durability: 'mirrored', scope: 'center', rules: ['center'] },
        ],
      }),
    });
  });
  afterAll(async () => {
    await scene.stop();
    await center.close();
  });

  const near = (city: keyof typeof cities) => at(cities[city]);
  const publish = (more: Readonly<Record<string, unknown>> = {}, headers = {}) =>
    scene.client.publish({ topic: 'ledgers', body: { n: 1 }, ...more }, { ...near('shanghai'), ...headers });
  const rowsAt = (set: string, text: string, params: readonly unknown[] = []) =>
    query(scene.deployment.databaseUrls[set] ?? '', text, params);
  const copiesAt = (set: string, { id }: Published) =>
    rowsAt(set, 'SELECT home FROM mirror_copy WHERE id = $1', [toUuid(parseMessageId(id))]);
  const mirrorOf = async ({ id, set }: Published): Promise<unknown> =>
    (await rowsAt(set, 'SELECT mirror FROM message WHERE id = $1', [toUuid(parseMessageId(id))]))[0]?.[
      'mirror'
    ];

  it('is committed at its SET and as a copy at the nearest sibling, once however often it is sent', async () => {
    const key = { 'idempotency-key': crypto.randomUUID() };
    const first = await publish({}, key);
    const again = await publish({}, key);
    expect([first.status, again.status]).toEqual([202, 202]);
    expect(again.body).toMatchObject({ id: first.body.id, duplicate: true });
    expect(first.body.set).toBe('hangzhou');
    expect(await mirrorOf(first.body)).toBe('center');
    expect(await copiesAt('center', first.body)).toEqual([{ home: 'hangzhou' }]);
    expect(await copiesAt('frankfurt', first.body)).toEqual([]);
  });

  it('leaves plain topics as they are', async () => {
    const { body } = await scene.client.publish({ topic: 'orders', body: {} }, near('shanghai'));
    expect(await mirrorOf(body)).toBeNull();
    expect(await copiesAt('center', body)).toEqual([]);
  });

  it('has its copies at the next sibling while the nearest one is away', async () => {
    center.become('closed');
    try {
      const { status, body } = await publish();
      expect(status).toBe(202);
      expect(body.set).toBe('hangzhou');
      expect(center.refused).toBeGreaterThan(0);
      expect(await mirrorOf(body)).toBe('frankfurt');
      expect(await copiesAt('frankfurt', body)).toEqual([{ home: 'hangzhou' }]);
    } finally {
      center.become('open');
    }
  });

  it('is refused, and stored nowhere, when nobody else may keep a copy', async () => {
    const refused = await scene.client.publish({ topic: 'headquarters', body: {} });
    expect(refused.status).toBe(503);
    expect(await rowsAt('center', `SELECT FROM message WHERE topic = 'headquarters'`)).toEqual([]);
    // Its SET is none the worse for it: other topics go there as before.
    const plain = await scene.client.publish({ topic: 'ledger', body: {} });
    expect(plain.body.set).toBe('center');
  });

  it('keeps the time of what is due later', async () => {
    const { body } = await publish({ deliverAfter: '1h' });
    expect(body.state).toBe('scheduled');
    const [copy] = await rowsAt(
      body.set === 'hangzhou' ? 'center' : 'hangzhou',
      `SELECT due_at > now() + interval '59 minutes' AS later FROM mirror_copy WHERE id = $1`,
      [toUuid(parseMessageId(body.id))],
    );
    expect(copy).toEqual({ later: true });
  });

  it('ends a copy after the delivery, and not before', async () => {
    scene.receiver.script('/kept', [{ status: 503 }]);
    const { body } = await publish();
    const jobs = openJobProcess({ ...scene.deployment.settings, ...directSettings(useStack()) });
    try {
      await scene.client.message(body.id, areDeliveries('RETRY', 'kept')).catch(() => undefined);
      expect(await copiesAt('center', body)).toHaveLength(1);
      await scene.client.message(body.id, areDeliveries('DONE', 'kept'));
      // Nobody has looked yet whether that was all.
      await jobs.run(endCopies);
      expect(await copiesAt('center', body)).toHaveLength(1);
      await jobs.run(auditAfter(0));
      await jobs.run(endCopies);
      expect(await copiesAt('center', body)).toEqual([]);
      expect(await mirrorOf(body)).toBeNull();
    } finally {
      await jobs.close();
    }
  });
});
