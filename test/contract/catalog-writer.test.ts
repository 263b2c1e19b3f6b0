/** Many who change the catalog at once, on a real database: nothing is lost, and who came too late is told. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createNeonBridge } from '../../functions/node/neon-bridge.ts';
import type { CatalogChange, CatalogWriter } from '../../shared/catalog/catalog-writer.ts';
import { sealSeed, type CatalogDocument, type SubscriptionEntry } from '../../shared/catalog/document.ts';
import { parseSeed } from '../../shared/catalog/seed.ts';
import { subscription as subscriptionSchema } from '../../shared/catalog/subscription-schema.ts';
import { createSealer } from '../../shared/sealed.ts';
import { appendDocument, readDocument } from '../../shared/store/catalog.ts';
import { createCatalogWriter } from '../../shared/store/catalog-edits.ts';
import { configureDatabases, openDatabase, type Sql } from '../../shared/store/database.ts';
import { migrate } from '../../shared/store/migrate.ts';
import { createWebhookSecret } from '../../shared/webhook/signature.ts';
import { useStack } from '../stack/current-stack.ts';

const bridge = createNeonBridge();
let sql: Sql;
let writer: CatalogWriter;
let written = 0;

beforeAll(async () => {
  configureDatabases({ timeoutMs: 10_000, fetch: bridge.fetch });
  sql = openDatabase((await useStack().createCorner('catalog-writer')).postgresUrl);
  await migrate(sql);
  writer = createCatalogWriter({ center: sql, onWritten: async () => void written++ });
});
afterAll(() => bridge.close());

const document: CatalogDocument = sealSeed(
  parseSeed({
    sets: [
      {
        id: 'center',
        number: 0,
        kind: 'center',
        place: { latitude: 1, longitude: 1 },
        brokerUrls: ['amqp://127.0.0.1'],
        databaseUrls: ['postgres://127.0.0.1/center'],
      },
    ],
    topics: [{ name: 'orders' }],
  }),
  createSealer([new Uint8Array(32)]),
);

beforeEach(async () => {
  await sql`DELETE FROM catalog`;
  await appendDocument(sql, { version: 1, document });
  written = 0;
});

const entryOf = (name: string, concurrency = 8): SubscriptionEntry =>
  subscriptionSchema.parse({
    name,
    topic: 'orders',
    endpoint: { url: `https://shop.example/${name}` },
    concurrency,
    timeoutMs: 1_000,
    secrets: [createWebhookSecret()],
  });

function changeOf(before: SubscriptionEntry | null, after: SubscriptionEntry | null): CatalogChange {
  const name = (before ?? after)?.name ?? '';
  const editOf = (entry: SubscriptionEntry | null) => ({ list: 'subscriptions', name, entry }) as const;
  return { expected: [editOf(before)], edits: [editOf(after)] };
}

async function namesNow(): Promise<readonly string[]> {
  const newest = await readDocument(sql);
  return newest?.document.subscriptions.map(({ name }) => name) ?? [];
}

describe('the catalog', () => {
  it('keeps every entry of thirty who add one at once', async () => {
    const names = Array.from({ length: 30 }, (_, index) => `s${index}`);
    await Promise.all(names.map((name) => writer.write(() => changeOf(null, entryOf(name)))));
    expect((await namesNow()).toSorted()).toEqual(names.toSorted());
    expect(await readDocument(sql)).toMatchObject({ version: 31 });
    expect(written).toBe(30);
    const [kept] = await sql`SELECT count(*) AS versions FROM catalog`;
    expect(Number(kept?.['versions'])).toBe(21);
  });

  it('counts right when twenty change the same entry: who was beaten decides anew', async () => {
    await writer.write(() => changeOf(null, entryOf('mail', 1)));
    const addOne = (): Promise<void> =>
      writer.write(({ subscriptions }) => {
        const before = subscriptions.find(({ name }) => name === 'mail') ?? null;
        return changeOf(before, before && { ...before, concurrency: before.concurrency + 1 });
      });
    const results = await Promise.allSettled(Array.from({ length: 20 }, addOne));
    const done = results.filter(({ status }) => status === 'fulfilled').length;
    const [mail] = (await readDocument(sql))?.document.subscriptions ?? [];
    expect(mail?.concurrency).toBe(1 + done);
    expect(done).toBeGreaterThan(0);
  });

  it('writes two lists together, and nothing when a topic has got a subscription meanwhile', async () => {
    const mail = entryOf('mail');
    const discarded = { list: 'discarded', name: 'mail', entry: { name: 'mail' } } as const;
    await writer.write(() => changeOf(null, mail));
    await writer.write(() => {
      const { expected, edits } = changeOf(mail, null);
      return { expected, edits: [edits[0], discarded] };
    });
    expect((await readDocument(sql))?.document).toMatchObject({
      subscriptions: [],
      discarded: [{ name: 'mail' }],
    });
    await writer.write(() => changeOf(null, mail));
    const removal = { list: 'topics', name: 'orders', entry: null } as const;
    const remove = writer.write(() => ({ expected: [], edits: [removal], unheard: 'orders' }));
    await expect(remove).rejects.toMatchObject({ kind: 'conflict' });
    expect((await readDocument(sql))?.document.topics).toHaveLength(1);
  });

  it('is changed in one go however large it is', async () => {
    const subscriptions = Array.from({ length: 1_000 }, (_, index) => entryOf(`s${index}`));
    await appendDocument(sql, { version: 2, document: { ...document, subscriptions } });
    const beganMs = performance.now();
    for (const name of ['a', 'b', 'c', 'd', 'e']) await writer.write(() => changeOf(null, entryOf(name)));
    console.info(`A change among 1,000 subscriptions: ${((performance.now() - beganMs) / 5).toFixed(0)} ms`);
    expect(await namesNow()).toHaveLength(1_005);
  });
});
