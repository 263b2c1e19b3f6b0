/** Moves of buckets over real databases: every step may be the last one of who does it. */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { applySeed } from '../../functions/cli/apply.ts';
import { createMoveParts } from '../../functions/bucket-moves.ts';
import { createNeonBridge } from '../../functions/node/neon-bridge.ts';
import { parseSeed } from '../../shared/catalog/seed.ts';
import { mintMessageId } from '../../shared/identifier.ts';
import {
  abortMove,
  closeLostBuckets,
  driveMove,
  driveMoves,
  planMove,
  type MoveParts,
} from '../../shared/fleet/move-buckets.ts';
import { createSealer } from '../../shared/sealed.ts';
import { bucketOf } from '../../shared/sets/bucket.ts';
import { reassignBuckets } from '../../shared/sets/ownership.ts';
import type { Receipt } from '../../shared/sets/set-link.ts';
import { configureDatabases, openDatabase, type Sql } from '../../shared/store/database.ts';
import { createFleetWrites } from '../../shared/store/fleet-writes.ts';
import { openStore } from '../../shared/store/postgres-store.ts';
import { useStack } from '../stack/current-stack.ts';
import { until } from '../stack/until.ts';

const stack = useStack();
const bridge = createNeonBridge();
const sealer = createSealer([randomBytes(32)]);
const urls = new Map<string, string>();
const ids = ['east', 'west', 'north'] as const;

beforeAll(async () => {
  configureDatabases({ timeoutMs: 10_000, fetch: bridge.fetch });
  for (const id of ids) urls.set(id, (await stack.createCorner(`move-${id}`)).postgresUrl);
});
afterAll(() => bridge.close());

const sqlOf = (set: string): Sql => openDatabase(urls.get(set) ?? '');
const seed = () =>
  parseSeed({
    sets: ids.map((id, number) => ({
      id,
      number,
      kind: number === 0 ? 'center' : 'unit',
      place: { latitude: 0, longitude: number },
      brokerUrls: ['amqp://localhost'],
      databaseUrls: [urls.get(id) ?? ''],
      weight: id === 'north' ? 0 : 1,
    })),
    topics: [{ name: 'orders', owner: 'acme' }],
    subscriptions: [
      {
        name: 'audit',
        owner: 'acme',
        topic: 'orders',
        endpoint: { url: 'https://example.com/a' },
        secrets: [secret],
      },
    ],
  });
const secret = `whsec_${randomBytes(24).toString('base64')}`;
const apply = () =>
  applySeed(
    {
      sealer,
      catalogUrls: [urls.get('east') ?? ''],
      report: () => undefined,
      policy: { allowHttp: true, allowLoopback: true, ownHosts: [] },
    },
    seed(),
  );
const plain = (): MoveParts =>
  createMoveParts({ center: sqlOf('east'), sealer, onWritten: () => Promise.resolve() });

/** Parts that die after a number of steps. */
function mortal(steps: number): MoveParts {
  const parts = plain();
  let left = steps;
  const step = <T>(work: () => Promise<T>): Promise<T> =>
    left-- > 0 ? work() : Promise.reject(new Error('It was killed.'));
  return {
    ...parts,
    read: () => step(() => parts.read()),
    write: (decide) => step(() => parts.write(decide)),
    books: async (set) =>
      (await parts.books(set)).map((book) => ({
        open: (holdings) => step(() => book.open(holdings)),
        close: (span) => step(() => book.close(span)),
        closeAllBut: (holdings) => step(() => book.closeAllBut(holdings)),
        left: (among) => step(() => book.left(among)),
      })),
  };
}

let lane = '';
let bucket = 0;
beforeEach(async () => {
  await apply();
  lane = `lane-${crypto.randomUUID()}`;
  bucket = bucketOf(lane);
});

async function owner(): Promise<{ readonly set: string; readonly epoch: number }> {
  const { buckets } = await plain().read();
  const found = buckets.find(({ from, to }) => from <= bucket && bucket <= to);
  return { set: found?.set ?? '', epoch: found?.epoch ?? 0 };
}

/** What a SET answers to an edge that believes in an epoch. */
async function offer(set: string, epoch: number): Promise<Receipt | undefined> {
  const message = {
    id: mintMessageId({ setNumber: 1, shard: 0 }, Date.now()),
    owner: 'acme',
    topic: 'orders',
    mode: 'confirm',
    body: new Uint8Array([1]),
    contentType: 'application/json',
    headers: {},
    acceptedAtMs: Date.now(),
    placement: { set, reason: 'key' },
    order: { kind: 'lane', lane },
  } as const;
  const { receipts } = await openStore(sqlOf(set), set).commit([{ message, home: { bucket, epoch } }], {
    set,
    resendAfterMs: 60_000,
  });
  return receipts[0];
}
const isTaken = async (set: string, epoch: number): Promise<boolean> => {
  const receipt = await offer(set, epoch);
  if (receipt?.refusal) expect(receipt.refusal.kind).toBe('misrouted');
  return receipt?.refusal === undefined;
};
/** As the last turn of the lane does. */
const deliverAll = (set: string) =>
  sqlOf(set)`
    INSERT INTO stream (subscription, stream, position)
    SELECT 'audit', 'lane/orders/' || lane, max(position) FROM lane_entry GROUP BY lane
    ON CONFLICT (subscription, stream) DO UPDATE SET position = excluded.position`;
const other = (set: string): string => (set === 'east' ? 'west' : 'east');
const wish = (target: string, forMs = 60_000) => ({
  from: bucket,
  to: bucket,
  target,
  untilMs: Date.now() + forMs,
});
const once = { maxMs: 0 };

describe('buckets', () => {
  it('are all given by the first apply, evenly to those with weight, and stay where they are at the next', async () => {
    const { buckets } = await plain().read();
    const sizes = Map.groupBy(buckets, ({ set }) => set);
    expect([...sizes.keys()].toSorted()).toEqual(['east', 'west']);
    expect(buckets.reduce((sum, { from, to }) => sum + to - from + 1, 0)).toBe(16_384);
    await apply();
    expect((await plain().read()).buckets).toEqual(buckets);
  });

  it('are admitted by the SET that has them at their epoch, and by nobody else', async () => {
    const { set, epoch } = await owner();
    expect(await isTaken(set, epoch)).toBe(true);
    expect(await isTaken(set, epoch + 1)).toBe(false);
    expect(await isTaken(other(set), epoch)).toBe(false);
  });

  it('move when what was taken of them is delivered, and not before', async () => {
    const { set, epoch } = await owner();
    const target = other(set);
    expect(await isTaken(set, epoch)).toBe(true);
    const parts = plain();
    const move = await planMove(parts, wish(target));
    expect(await driveMove(parts, move, once)).toMatchObject({
      outcome: 'draining',
      lanesLeft: 1,
      waitsFor: ['subscription audit'],
    });
    expect([await isTaken(set, epoch), await isTaken(target, epoch + 1)]).toEqual([false, false]);
    await deliverAll(set);
    expect(await driveMove(parts, move, once)).toMatchObject({ outcome: 'moved' });
    expect(await owner()).toEqual({ set: target, epoch: epoch + 1 });
    expect(await isTaken(target, epoch + 1)).toBe(true);
    // An edge that slept through it.
    expect(await isTaken(set, epoch)).toBe(false);
    await apply();
    expect(await owner()).toEqual({ set: target, epoch: epoch + 1 });
  });

  it('stay where they were, at a new epoch, when the wait is over', async () => {
    const { set, epoch } = await owner();
    await offer(set, epoch);
    const parts = plain();
    const move = await planMove(parts, wish(other(set), -1));
    expect(await driveMove(parts, move, once)).toMatchObject({ outcome: 'aborted' });
    expect(await owner()).toEqual({ set, epoch: epoch + 1 });
    expect([await isTaken(set, epoch + 1), await isTaken(set, epoch)]).toEqual([true, false]);
    await deliverAll(set);
  });

  it('end in one place when one gives a move up while another goes on', async () => {
    const { set, epoch } = await owner();
    const target = other(set);
    const move = await planMove(plain(), wish(target));
    const wait = { maxMs: 5_000 };
    const [driven, aborted] = await Promise.all([
      driveMove(plain(), move, wait),
      abortMove(plain(), move, wait),
    ]);
    expect(driven.outcome).toBe(aborted.outcome);
    const taken = [await isTaken(set, epoch + 1), await isTaken(target, epoch + 1)];
    expect(taken).toEqual(driven.outcome === 'moved' ? [false, true] : [true, false]);
    await Promise.all([deliverAll(set), deliverAll(target)]);
  });

  it('arrive once however often the mover is killed, and whoever goes on', async () => {
    for (let steps = 0; steps < 14; steps++) {
      const { set, epoch } = await owner();
      const target = other(set);
      await planMove(plain(), wish(target));
      await driveMoves(mortal(steps), { maxMs: 1_000 }).catch(() => undefined);
      const taken = [await isTaken(set, epoch), await isTaken(target, epoch + 1)];
      // Until the catalog says so no edge asks the target; it is never both.
      expect(taken).not.toEqual([true, true]);
      await Promise.all([deliverAll(set), deliverAll(target)]);
      await driveMoves(plain(), { maxMs: 5_000 });
      expect(await owner()).toEqual({ set: target, epoch: epoch + 1 });
      expect([await isTaken(set, epoch), await isTaken(target, epoch + 1)]).toEqual([false, true]);
      await deliverAll(target);
    }
  });

  it('are changed by nobody who comes late', async () => {
    const { set, epoch } = await owner();
    const target = other(set);
    const span = { from: bucket, to: bucket };
    for (const to of [target, set]) await driveMoves(plain(), { maxMs: 5_000 }).then(() => moveTo(to));
    expect(await owner()).toEqual({ set, epoch: epoch + 2 });
    const [late] = await plain().books(target);
    await late?.open([{ ...span, epoch: epoch + 1 }]);
    const [closer] = await plain().books(set);
    await closer?.close({ ...span, epoch: epoch + 1 });
    expect([await isTaken(target, epoch + 1), await isTaken(set, epoch + 2)]).toEqual([false, true]);
    await deliverAll(set);
  });

  it('of a lost SET go to the others at a new epoch', async () => {
    const { set, epoch } = await owner();
    const heir = other(set);
    const known = await plain().read();
    const { buckets } = reassignBuckets(known, set, known.sets);
    const databases = async (of: string): Promise<readonly Sql[]> => [sqlOf(of)];
    const onWritten = (): Promise<void> => Promise.resolve();
    await createFleetWrites({ center: sqlOf('east'), databases, onWritten }).bequeath(set, buckets);
    expect((await plain().read()).buckets.every((each) => each.set === heir)).toBe(true);
    expect(await owner()).toEqual({ set: heir, epoch: epoch + 1 });
    expect([await isTaken(heir, epoch + 1), await isTaken(heir, epoch)]).toEqual([true, false]);
    // It was not there to be told; when it comes back it closes what it has no more.
    await closeLostBuckets(plain(), set);
    expect(await isTaken(set, epoch)).toBe(false);
    await deliverAll(heir);
  });

  it('wait for what is scheduled for one of their lanes', async () => {
    const { set, epoch } = await owner();
    const { message } = { message: { placement: { set, reason: 'key' } } };
    const due = {
      message: {
        ...message,
        id: mintMessageId({ setNumber: 1, shard: 0 }, Date.now()),
        owner: 'acme',
        topic: 'orders',
        mode: 'confirm',
        body: new Uint8Array([1]),
        contentType: 'application/json',
        headers: {},
        acceptedAtMs: Date.now(),
        order: { kind: 'lane', lane },
      },
      due: { afterMs: 3_600_000 },
      home: { bucket, epoch },
    } as const;
    const store = openStore(sqlOf(set), set);
    await store.commit([due], { set, resendAfterMs: 60_000 });
    const move = await planMove(plain(), wish(other(set)));
    expect(await driveMove(plain(), move, once)).toMatchObject({ waitsFor: ['a message that is scheduled'] });
    await store.cancel({ id: due.message.id, owner: 'acme', by: 'test' }, set);
    expect(await until(20_000, () => driveMove(plain(), move, once))).toMatchObject({ outcome: 'moved' });
  });
});

async function moveTo(target: string): Promise<void> {
  await driveMove(plain(), await planMove(plain(), wish(target)), { maxMs: 5_000 });
}
