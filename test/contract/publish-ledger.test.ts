/** The protocol of shared/idempotency/publish-ledger.ts on a real Redis. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { upstashRequester } from '../../functions/node/upstash-bridge.ts';
import type { PublishClaim, PublishLedger } from '../../shared/idempotency/publish-ledger.ts';
import { createRedisPublishLedger } from '../../shared/idempotency/redis-publish-ledger.ts';
import { connectRedis } from '../../shared/idempotency/upstash.ts';
import { mintMessageId } from '../../shared/identifier.ts';
import { useStack } from '../stack/current-stack.ts';
import { until } from '../stack/part.ts';

const stack = useStack();
const requester = upstashRequester(stack.redisUrl);
afterAll(() => requester.close());

const ledgers: Record<string, () => PublishLedger> = {
  'Redis in-process': () => createRedisPublishLedger(connectRedis({ requester })),
  'Redis over REST': () => createRedisPublishLedger(connectRedis(stack.upstash)),
};

const leaseMs = 60_000;
const shortLeaseMs = 40;
const kept = { answer: '{"id":"msg_1","state":"stored","n":"ü"}', ttlMs: 60_000 };

describe.each(Object.entries(ledgers))('the publish ledger: %s', (_name, create) => {
  let ledger: PublishLedger;
  beforeAll(() => {
    ledger = create();
  });
  const newKey = () => crypto.randomUUID();
  const newClaim = (over: Partial<PublishClaim> = {}): PublishClaim => ({
    id: mintMessageId({ setNumber: 1, shard: 0 }, Date.now()),
    set: 'hangzhou',
    fingerprint: 'f1',
    holder: crypto.randomUUID(),
    ...over,
  });
  /** Waits until the lease ran out and `claim` went on with it. */
  async function resume(key: string, claim: PublishClaim, lease = leaseMs) {
    let entry: Awaited<ReturnType<PublishLedger['reserve']>> | undefined;
    await until(async () => {
      entry = await ledger.reserve(key, claim, lease);
      expect(entry.outcome).not.toBe('in-flight');
    }, 5_000);
    return entry;
  }

  it('takes a new key and holds back the same request meanwhile', async () => {
    const key = newKey();
    expect(await ledger.reserve(key, newClaim(), leaseMs)).toEqual({ outcome: 'reserved' });
    const second = await ledger.reserve(key, newClaim(), leaseMs);
    expect(second.outcome === 'in-flight' && second.retryAfterMs > 0 && second.retryAfterMs <= leaseMs).toBe(
      true,
    );
  });

  it('takes exactly one of 100 requests at once', async () => {
    const key = newKey();
    const entries = await Promise.all(
      Array.from({ length: 100 }, () => ledger.reserve(key, newClaim(), leaseMs)),
    );
    expect(entries.filter(({ outcome }) => outcome === 'reserved')).toHaveLength(1);
    expect(entries.filter(({ outcome }) => outcome === 'in-flight')).toHaveLength(99);
  });

  it('holds back another attempt that offers the same id', async () => {
    const key = newKey();
    const claim = newClaim();
    await ledger.reserve(key, claim, leaseMs);
    const other = await ledger.reserve(key, { ...claim, holder: crypto.randomUUID() }, leaseMs);
    expect(other.outcome).toBe('in-flight');
  });

  it('says the same when one reservation is sent twice', async () => {
    const key = newKey();
    const claim = newClaim();
    await ledger.reserve(key, claim, leaseMs);
    expect(await ledger.reserve(key, claim, leaseMs)).toEqual({ outcome: 'reserved' });
  });

  it('replays the first answer, byte for byte', async () => {
    const key = newKey();
    const claim = newClaim();
    await ledger.reserve(key, claim, leaseMs);
    await ledger.finish(key, claim, kept);
    expect(await ledger.reserve(key, newClaim(), leaseMs)).toEqual({
      outcome: 'answered',
      answer: kept.answer,
    });
  });

  it('keeps the first answer when another comes later', async () => {
    const key = newKey();
    const claim = newClaim();
    await ledger.reserve(key, claim, leaseMs);
    await ledger.finish(key, claim, kept);
    await ledger.finish(key, claim, { ...kept, answer: '{}' });
    expect(await ledger.reserve(key, newClaim(), leaseMs)).toEqual({
      outcome: 'answered',
      answer: kept.answer,
    });
  });

  it('refuses another request under the key, pending or answered', async () => {
    const key = newKey();
    const claim = newClaim();
    await ledger.reserve(key, claim, leaseMs);
    expect(await ledger.reserve(key, newClaim({ fingerprint: 'f2' }), leaseMs)).toEqual({
      outcome: 'mismatch',
    });
    await ledger.finish(key, claim, kept);
    expect(await ledger.reserve(key, newClaim({ fingerprint: 'f2' }), leaseMs)).toEqual({
      outcome: 'mismatch',
    });
  });

  it('goes on under the first id and SET once the first attempt is overdue', async () => {
    const key = newKey();
    const first = newClaim();
    await ledger.reserve(key, first, shortLeaseMs);
    const second = newClaim({ set: 'frankfurt' });
    expect(await resume(key, second)).toEqual({ outcome: 'resumed', id: first.id, set: 'hangzhou' });
    expect((await ledger.reserve(key, newClaim(), leaseMs)).outcome).toBe('in-flight');
    expect(await ledger.reserve(key, second, leaseMs)).toMatchObject({ outcome: 'resumed', id: first.id });
    await ledger.finish(key, first, kept);
    expect((await ledger.reserve(key, newClaim(), leaseMs)).outcome).toBe('answered');
  });

  it('lets the next attempt go on at once when one is released, under the first id', async () => {
    const key = newKey();
    const claim = newClaim();
    await ledger.reserve(key, claim, leaseMs);
    await ledger.release(key, claim);
    expect(await ledger.reserve(key, newClaim({ fingerprint: 'f2' }), leaseMs)).toEqual({
      outcome: 'mismatch',
    });
    expect(await ledger.reserve(key, newClaim(), leaseMs)).toMatchObject({
      outcome: 'resumed',
      id: claim.id,
    });
  });

  it('never forgets the id once a second attempt went on, whoever releases', async () => {
    const key = newKey();
    const first = newClaim();
    await ledger.reserve(key, first, shortLeaseMs);
    await resume(key, newClaim());
    await ledger.release(key, first);
    expect(await ledger.reserve(key, newClaim(), leaseMs)).toMatchObject({
      outcome: 'resumed',
      id: first.id,
    });
  });

  it('does not let a stranger finish or release', async () => {
    const key = newKey();
    await ledger.reserve(key, newClaim(), leaseMs);
    const stranger = newClaim();
    await ledger.finish(key, stranger, kept);
    await ledger.release(key, stranger);
    expect((await ledger.reserve(key, newClaim(), leaseMs)).outcome).toBe('in-flight');
  });

  it('does not let release take back an answer', async () => {
    const key = newKey();
    const claim = newClaim();
    await ledger.reserve(key, claim, leaseMs);
    await ledger.finish(key, claim, kept);
    await ledger.release(key, claim);
    expect((await ledger.reserve(key, newClaim(), leaseMs)).outcome).toBe('answered');
  });

  it('keeps the answer of a request whose reservation was lost', async () => {
    const key = newKey();
    await ledger.finish(key, newClaim(), kept);
    expect((await ledger.reserve(key, newClaim(), leaseMs)).outcome).toBe('answered');
  });
});
