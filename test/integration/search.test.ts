/** Search over all SETs, and the timeline of one message. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mintApiKey } from '../../shared/catalog/api-key.ts';
import { at, areDeliveries, cities, createClient, type Client } from '../stack/client.ts';
import { useStack } from '../stack/current-stack.ts';
import { deploy, freshPrefix, type Deployment } from '../stack/deployment.ts';
import { addListeners } from '../stack/listeners.ts';
import { platforms, type RunningPlatform } from '../stack/platform.ts';
import { startTcpProxy, type TcpProxy } from '../stack/tcp-proxy.ts';
import { startWebhookReceiver, type WebhookReceiver } from '../stack/webhook-receiver.ts';

interface Page {
  readonly messages: readonly { readonly id: string; readonly set: string; readonly state: string }[];
  readonly next?: string;
  readonly incomplete: readonly string[];
}

describe.each(platforms)('search on $name', (platform) => {
  let receiver: WebhookReceiver;
  let database: TcpProxy;
  let deployment: Pick<Deployment, 'settings' | 'apiKey'>;
  let server: RunningPlatform;
  let client: Client;
  let stranger: Client;
  /** Oldest first. */
  let ids: string[];
  const places = [cities.berlin, cities.shanghai, cities.newYork] as const;

  beforeAll(async () => {
    receiver = await startWebhookReceiver();
    database = await startTcpProxy(useStack().postgresUrl);
    const other = mintApiKey({ owner: 'rival', scopes: ['publish', 'read'] });
    deployment = await deploy(
      useStack(),
      freshPrefix('search'),
      () => undefined,
      (seed) => {
        const more = addListeners(seed, receiver.url, { plain: {}, broken: { retryDelaysMs: [] } });
        const sets = more.sets.map((set) =>
          set.id === 'virginia'
            ? { ...set, databaseUrls: set.databaseUrls.map((url) => database.through(url)) }
            : set,
        );
        return {
          ...more,
          sets,
          keys: [...(more.keys ?? []), { ...other.key, scopes: [...other.key.scopes] }],
        };
      },
    );
    server = await platform.start(deployment);
    client = createClient(server.url, deployment);
    stranger = createClient(server.url, { apiKey: other.text });
    ids = [];
    receiver.script('/broken', [{ status: 503, body: 'The 100% teapot_is broken' }]);
    const publish = async (message: Record<string, unknown>, turn: number): Promise<void> => {
      const place = at(places[turn % places.length] ?? cities.berlin);
      const { status, body } = await client.publish({ topic: 'events', body: turn, ...message }, place);
      expect(status).toBe(202);
      ids.push(body.id);
    };
    for (let turn = 0; turn < 7; turn++) await publish({ tag: 'plain', key: `user-${turn % 2}` }, turn);
    await publish({ tag: 'broken' }, 7);
    await publish({ tag: 'nobody' }, 8);
    // The broker's confirm is written down after the answer, so a message may be READY for a moment.
    for (const id of ids.slice(0, 8)) await client.message(id, ({ state }) => state === 'CONFIRMED');
    await client.message(ids[6] ?? '', areDeliveries('DONE', 'plain'));
    await client.message(ids[7] ?? '', areDeliveries('DEAD', 'broken'));
    await client.message(ids[8] ?? '', ({ state }) => state === 'UNROUTABLE');
  });
  afterAll(async () => {
    await server.stop();
    await database.close();
    await receiver.stop();
  });

  const search = async (parameters: string, as = client): Promise<Page> => {
    const { status, body } = await as.get<Page>(`/v1/messages?${parameters}`);
    expect({ status, body }).toMatchObject({ status: 200 });
    return body;
  };
  const found = async (parameters: string): Promise<readonly string[]> =>
    (await search(parameters)).messages.map(({ id }) => id);

  it('lists the messages of all SETs newest first, page by page, each once', async () => {
    const pages: Page[] = [];
    let cursor = '';
    do {
      const page = await search(`topic=events&limit=4${cursor}`);
      pages.push(page);
      cursor = page.next === undefined ? '' : `&cursor=${page.next}`;
    } while (cursor !== '');
    expect(pages.map(({ messages }) => messages.length)).toEqual([4, 4, 1]);
    expect(pages.flatMap(({ messages }) => messages.map(({ id }) => id))).toEqual(ids.toReversed());
    expect(pages.flatMap(({ incomplete }) => incomplete)).toEqual([]);
    const sets = new Set(pages.flatMap(({ messages }) => messages.map(({ set }) => set)));
    expect([...sets].toSorted()).toEqual(['frankfurt', 'hangzhou', 'virginia']);
    expect(await found('')).toEqual(ids.toReversed());
  });

  it('every filter narrows it', async () => {
    expect(await found('key=user-1')).toEqual([ids[5], ids[3], ids[1]]);
    expect(await found('state=unroutable')).toEqual([ids[8]]);
    expect(await found('state=CONFIRMED&topic=events&limit=2')).toEqual([ids[7], ids[6]]);
    expect(await found('state=ready')).toEqual([]);
    expect(await found('subscription=broken')).toEqual([ids[7]]);
    expect(await found('deliveryState=dead')).toEqual([ids[7]]);
    expect(await found('subscription=plain&deliveryState=DONE&limit=1')).toEqual([ids[6]]);
    expect(await found('error=HTTP%20503')).toEqual([ids[7]]);
    // Text, not a pattern: "%" and "_" mean themselves, and letters are the same in either case.
    expect(await found('error=100%25%20TEAPOT_IS')).toEqual([ids[7]]);
    expect(await found('error=teapot%25broken')).toEqual([]);
    expect(await found('topic=orders')).toEqual([]);
    expect(await found('lane=none')).toEqual([]);
    expect(await found('session=none')).toEqual([]);
  });

  it('a time is when a message was stored, to the millisecond', async () => {
    const { body } = await client.get<{ storedAt: string }>(`/v1/messages/${ids[4]}`);
    const from = encodeURIComponent(body.storedAt);
    expect((await found(`from=${from}`)).at(-1)).toBe(ids[4]);
    expect(await found(`to=${from}`)).toEqual(ids.slice(0, 4).toReversed());
  });

  it('somebody else sees nothing, whatever they ask', async () => {
    for (const asked of [
      '',
      'topic=events',
      'key=user-1',
      'state=unroutable',
      'deliveryState=dead',
      'error=HTTP',
    ])
      expect(await search(`${asked}`, stranger)).toEqual({ messages: [], incomplete: [] });
    const { status } = await stranger.get(`/v1/messages/${ids[0]}`);
    expect(status).toBe(404);
  });

  it.each([
    ['cursor=nonsense', 'cursor'],
    ['cursor=e30', 'cursor'],
    ['state=half-done', 'state'],
    ['deliveryState=lost', 'deliveryState'],
    ['limit=0', 'limit'],
    ['limit=201', 'limit'],
    ['from=yesterday', 'from'],
    ['to=2026-02-30T00:00:00Z', 'to'],
    ['error=ab', 'error'],
    ['topics=events', 'topics'],
    ['topic=events&topic=orders', 'topic'],
    ['error=%00%00%00', 'error'],
  ])('%s is refused', async (asked, place) => {
    const { status, body } = await client.get<{ errors: readonly { at: string }[] }>(`/v1/messages?${asked}`);
    expect(status).toBe(422);
    expect(body.errors[0]?.at).toBe(place);
  });

  it('a cursor of other filters is refused', async () => {
    const { next } = await search('topic=events&limit=1');
    const { status } = await client.get(`/v1/messages?limit=1&cursor=${next}`);
    expect(status).toBe(422);
  });

  it('the timeline has every change and every attempt, in order', async () => {
    const { timeline } = await client.message(ids[7] ?? '', () => true);
    expect(timeline).toMatchObject([
      { change: 'accepted', by: 'edge' },
      { change: 'stored' },
      { change: 'confirmed', by: 'broker' },
      { change: 'attempt', subscription: 'broken', attempt: 1, status: 503, outcome: 'DEAD' },
    ]);
    expect(timeline.at(-1)).toMatchObject({ error: 'HTTP 503: The 100% teapot_is broken' });
    expect(String(timeline.at(-1)?.['by'])).toMatch(/^\w+-[0-9a-f]{8}$/);
    expect(timeline.at(-1)?.['durationMs']).toBeGreaterThan(0);
    const lost = await client.message(ids[8] ?? '', () => true);
    expect(lost.timeline.map(({ change }) => change)).toEqual(['accepted', 'stored', 'unroutable']);
  });

  it('a SET that does not answer is named, and the others are shown', async () => {
    database.become('closed');
    const page = await search('topic=events');
    database.become('open');
    expect(page.incomplete).toEqual(['virginia']);
    expect(page.messages.map(({ id }) => id)).toEqual(
      ids.filter((_, turn) => turn % places.length !== 2).toReversed(),
    );
  });
});
