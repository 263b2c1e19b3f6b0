/** The audit finds what nothing else would, repairs it once, and leaves alone what is only late. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mintApiKey } from '../../shared/catalog/api-key.ts';
import type { SeedInput } from '../../shared/catalog/seed.ts';
import { assembleSequences } from '../../scheduled/assemble-sequences.ts';
import { auditAfter } from '../../scheduled/audit.ts';
import { redeliver } from '../../scheduled/redeliver.ts';
import type { JobParts } from '../../scheduled/run-job.ts';
import { parseMessageId, toUuid } from '../../shared/identifier.ts';
import { at, areDeliveries, cities, createClient, type Client } from '../stack/client.ts';
import { useStack } from '../stack/current-stack.ts';
import { deploy, directSettings, freshPrefix, type Deployment } from '../stack/deployment.ts';
import { openJobProcess, type JobProcess } from '../stack/job-process.ts';
import { addListeners } from '../stack/listeners.ts';
import { platforms, type RunningPlatform } from '../stack/platform.ts';
import { countRows, query } from '../stack/query.ts';
import { startTcpProxy, type TcpProxy } from '../stack/tcp-proxy.ts';
import { until } from '../stack/until.ts';
import { startWebhookReceiver, type WebhookReceiver } from '../stack/webhook-receiver.ts';

/** Looks at everything up to now. */
const audit = auditAfter(0);

describe('the audit', () => {
  let receiver: WebhookReceiver;
  let broker: TcpProxy;
  let deployment: Deployment;
  let server: RunningPlatform;
  let client: Client;
  let jobs: JobProcess;

  beforeAll(async () => {
    const stack = useStack();
    receiver = await startWebhookReceiver();
    broker = await startTcpProxy(stack.amqpUrl);
    const change = (seed: SeedInput): SeedInput => {
      const more = addListeners(seed, receiver.url, {
        one: { bindings: ['x.*'] },
        two: { bindings: ['x.#'] },
        some: { bindings: ['f.#'], filter: 'body.total >= 100' },
      });
      return {
        ...more,
        sets: more.sets.map((set) => ({
          ...set,
          brokerUrls: set.brokerUrls.map((url) => broker.through(url)),
        })),
      };
    };
    deployment = await deploy(stack, freshPrefix('audit'), () => undefined, change);
    server = (await platforms[1]?.start(deployment)) as RunningPlatform;
    client = createClient(server.url, deployment);
    jobs = openJobProcess({ ...deployment.settings, ...directSettings(stack) });
  });
  afterAll(async () => {
    await jobs.close();
    await server.stop();
    await broker.close();
    await receiver.stop();
  });

  const sql = (text: string, params: readonly unknown[] = []) =>
    query(deployment.databaseUrls['frankfurt'] ?? '', text, params);
  const publish = async (more: object = {}): Promise<string> => {
    const { status, body } = await client.publish(
      { topic: 'events', tag: 'x.y', body: 1, ...more },
      at(cities.berlin),
    );
    expect(status).toBe(202);
    return body.id;
  };
  const delivered = async (): Promise<string> => {
    const id = await publish();
    await client.message(id, areDeliveries('DONE', 'one', 'two'));
    return id;
  };
  /** How many repairs two audits at once made. */
  const audited = async (): Promise<number> => {
    const reports = await jobs.run(audit, audit);
    expect(reports.flatMap(({ failures }) => failures)).toEqual([]);
    return reports.reduce((sum, { handled }) => sum + handled, 0);
  };
  /** As if the record of a delivery had never been: the newest message is the one. */
  const forget = (subscription: string) =>
    sql(
      `WITH gone AS (DELETE FROM attempt WHERE subscription = $1)
       DELETE FROM delivery WHERE subscription = $1 AND message_id = (SELECT id FROM message ORDER BY stored_at DESC LIMIT 1)`,
      [subscription],
    );

  it('finds nothing where nothing is wrong, and does not look twice', async () => {
    await delivered();
    expect(await audited()).toBe(0);
    const [mark] = await sql(
      'SELECT stored_at > (SELECT max(stored_at) FROM message) AS passed FROM audit_mark',
    );
    expect(mark).toEqual({ passed: true });
  });

  it('a confirmed message that a subscription never got is sent to that subscription alone, once', async () => {
    const id = await delivered();
    await forget('two');
    expect(await audited()).toBe(1);
    await jobs.run(redeliver);
    const message = await client.message(id, areDeliveries('DONE', 'two'), 25_000);
    expect(message.timeline.map(({ change, detail }) => [change, detail])).toContainEqual(['resent', 'two']);
    expect(
      receiver
        .callsOf(id)
        .map(({ path }) => path)
        .toSorted((a, b) => a.localeCompare(b)),
    ).toEqual(['/one', '/two', '/two']);
    expect(await audited()).toBe(0);
  });

  it('of what a filter wants nothing is lost, and what it leaves out is owed to nobody', async () => {
    const ids: string[] = [];
    for (const total of [100, 1, 2]) ids.push(await publish({ tag: 'f.y', body: { total } }));
    const [wanted = ''] = ids;
    await client.message(wanted, areDeliveries('DONE', 'some'));
    for (const id of ids) await client.message(id, ({ state }) => state === 'CONFIRMED');
    expect(await audited()).toBe(0);
    await sql("DELETE FROM delivery WHERE subscription = 'some'");
    await sql("UPDATE audit_mark SET stored_at = now() - interval '1 hour'");
    expect(await audited()).toBe(1);
    await jobs.run(redeliver);
    await client.message(wanted, areDeliveries('DONE', 'some'), 25_000);
    expect(receiver.calls.filter(({ path }) => path === '/some')).toHaveLength(2);
    expect(await sql('SELECT count(*)::int AS count FROM audit_open')).toEqual([{ count: 0 }]);
    expect(await sql("SELECT count(*)::int AS count FROM agenda WHERE subscription = 'some'")).toEqual([
      { count: 0 },
    ]);
  });

  it('a subscription that is stopped is behind: its message is looked at again when it is back', async () => {
    const id = await delivered();
    await forget('two');
    await sql("INSERT INTO disabled_subscription (subscription, reason) VALUES ('two', 'a test')");
    expect(await audited()).toBe(0);
    expect(await sql('SELECT count(*)::int AS count FROM audit_open')).toEqual([{ count: 1 }]);
    await sql('DELETE FROM disabled_subscription');
    await sql('UPDATE audit_open SET look_at = now()');
    expect(await audited()).toBe(1);
    await jobs.run(redeliver);
    await client.message(id, areDeliveries('DONE', 'two'), 25_000);
    expect(await sql('SELECT count(*)::int AS count FROM audit_open')).toEqual([{ count: 0 }]);
  });

  it('a subscription gets nothing of before it was there', async () => {
    await delivered();
    await forget('two');
    await sql(`INSERT INTO catalog (version, document, applied_at)
      SELECT 0, jsonb_set(document, '{subscriptions}', '[]'), now() - interval '1 day' FROM catalog WHERE version = 1`);
    await sql('UPDATE catalog SET applied_at = now() WHERE version = 1');
    expect(await audited()).toBe(0);
    await sql('DELETE FROM catalog WHERE version = 0');
  });

  it('a message that lost its agenda entry gets a new one, sent or scheduled', async () => {
    broker.become('closed');
    const lost = await until(20_000, async () => {
      const id = await publish();
      return (await client.message(id, () => true)).state === 'READY' && id;
    });
    const later = await publish({ deliverAfter: 3_600 });
    await sql("DELETE FROM agenda WHERE kind IN ('send', 'release')");
    expect(await audited()).toBe(2);
    const [release] = await sql(
      "SELECT due_at = (SELECT deliver_at FROM message WHERE state = 'SCHEDULED') AS is_same FROM agenda WHERE kind = 'release'",
    );
    expect(release).toEqual({ is_same: true });
    broker.become('open');
    const message = await client.message(lost, areDeliveries('DONE', 'one', 'two'), 40_000);
    expect(message.timeline.map(({ change }) => change)).toContain('replanned');
    // Both were open when the audit passed; the one that is due later stays noted.
    await sql('UPDATE audit_open SET look_at = now()');
    expect(await audited()).toBe(0);
    expect(await sql('SELECT count(*)::int AS count FROM audit_open')).toEqual([{ count: 1 }]);
    expect((await client.message(later, () => true)).state).toBe('SCHEDULED');
  }, 90_000);

  it('ordered messages that nobody has a record of are put back in turn', async () => {
    const post = async (path: string, body: object): Promise<readonly string[]> => {
      const init = { 'content-type': 'application/json', ...at(cities.berlin) };
      const answer = await client.post<{ id: string; messages?: { id: string }[] }>(
        path,
        JSON.stringify(body),
        init,
      );
      expect(answer.status).toBe(202);
      return answer.body.messages?.map(({ id }) => id) ?? [answer.body.id];
    };
    const name = `audited-${crypto.randomUUID().slice(0, 8)}`;
    const shared = { topic: 'events', tag: 'x.y', route: { set: 'frankfurt' } };
    const lane: string[] = [];
    for (const body of [1, 2, 3]) lane.push(...(await post('/v1/messages', { ...shared, lane: name, body })));
    const steps = [1, 2].map((body) => ({ body }));
    const sequence = await post('/v1/sequences', { ...shared, session: name, messages: steps });
    for (const id of [...lane, ...sequence]) await client.message(id, areDeliveries('DONE', 'one', 'two'));
    // As if the broker's copies of the last two, and of the whole sequence, had been lost without a trace.
    const uuids = [...lane.slice(1), ...sequence].map((id) => toUuid(parseMessageId(id)));
    await sql("DELETE FROM delivery WHERE subscription = 'two' AND message_id = ANY($1)", [uuids]);
    const first = toUuid(parseMessageId(lane[0] ?? ''));
    await sql(
      `UPDATE stream SET position = (SELECT position FROM lane_entry WHERE message_id = $1)
       WHERE subscription = 'two' AND stream = $2`,
      [first, `lane/events/${name}`],
    );
    const session = `session/events/${name}`;
    await sql("DELETE FROM stream WHERE subscription = 'two' AND stream = $1", [session]);
    await sql("DELETE FROM stream_item WHERE subscription = 'two' AND stream = $1", [session]);
    await sql(
      "UPDATE audit_mark SET stored_at = (SELECT stored_at FROM message WHERE id = $1) - interval '1 ms'",
      [first],
    );
    const before = receiver.calls.length;
    expect(await audited()).toBe(uuids.length);
    expect(await audited()).toBe(0);
    await jobs.run(assembleSequences);
    for (const id of [...lane, ...sequence]) await client.message(id, areDeliveries('DONE', 'one', 'two'));
    const again = receiver.calls.slice(before).map(({ path, headers }) => [path, headers['webhook-id']]);
    // At least once: the same call may come again, and nothing may come between out of turn.
    const inOrder = (ids: readonly string[]) => [
      ...new Set(
        again.flatMap(([path, id]) => (ids.includes(String(id)) ? [`${String(path)} ${String(id)}`] : [])),
      ),
    ];
    expect(inOrder(lane)).toEqual(lane.slice(1).map((id) => `/two ${id}`));
    expect(inOrder(sequence)).toEqual(sequence.map((id) => `/two ${id}`));
  });

  it('loses and doubles nothing when it dies at any of its steps', async () => {
    for (const [step, moment] of [
      ['keptVersions', 'before'],
      ['stopped', 'after'],
      ['audit', 'before'],
      ['audit', 'after'],
    ] as const) {
      const id = await delivered();
      await forget('two');
      let hasDied = false;
      const dyingAt = <T extends object>(part: T): T =>
        new Proxy(part, {
          get: (target, name) => {
            const value: unknown = Reflect.get(target, name);
            if (typeof value !== 'function' || name !== step) return value;
            return async (...args: unknown[]) => {
              hasDied = true;
              if (moment === 'after') await (value as (...given: unknown[]) => unknown).apply(target, args);
              throw new Error('dead');
            };
          },
        });
      const databases: JobParts['databases'] = async (set) => {
        const found = await jobs.parts.databases(set);
        return dyingAt({ ...found, stores: found.stores.map(dyingAt) });
      };
      const report = await audit.run({ ...jobs.parts, databases });
      expect([hasDied, report.failures.length > 0]).toEqual([true, true]);
      // One statement repairs and moves on: what it did is not done again.
      expect(await audited()).toBe(step === 'audit' && moment === 'after' ? 0 : 1);
      await sql("UPDATE agenda SET due_at = now() WHERE kind = 'redeliver'");
      await jobs.run(redeliver);
      await client.message(id, areDeliveries('DONE', 'one', 'two'));
      expect(receiver.callsOf(id, '/two')).toHaveLength(2);
    }
  });

  it('goes on where it stopped, however small its steps, past groups of one time', async () => {
    await sql("UPDATE audit_mark SET stored_at = '-infinity'");
    const { stores } = await jobs.parts.databases('frankfurt');
    const [store] = stores;
    if (!store) throw new Error('No database.');
    const total = await countRows([deployment.databaseUrls['frankfurt'] ?? ''], 'message');
    await sql('DELETE FROM audit_open');
    const step = () =>
      store.audit({ set: 'frankfurt', topics: ['events', 'orders'], listeners: [], afterMs: 0, limit: 1 });
    let looked = 0;
    for (let more = true; more;) {
      const findings = await step();
      looked += findings.looked;
      more = findings.isThereMore;
    }
    expect(looked).toBe(total);
  });
});

interface Jobs {
  readonly jobs: readonly {
    readonly name: string;
    readonly cron: string;
    readonly lastRuns: readonly { readonly handled: number; readonly failures: readonly unknown[] }[];
  }[];
}

describe.each(platforms)('the jobs on $name', (platform) => {
  it('are shown with what they did, to whoever may manage', async () => {
    const manage = mintApiKey({ owner: 'demo', scopes: ['manage'] });
    const deployment = await deploy(
      useStack(),
      freshPrefix('jobs'),
      () => undefined,
      (seed) => ({
        ...seed,
        keys: [...(seed.keys ?? []), { ...manage.key, scopes: [...manage.key.scopes] }],
      }),
    );
    const server = await platform.start(deployment);
    const operator = createClient(server.url, { apiKey: manage.text });
    try {
      await server.runCron('17 3 * * *');
      const shown = await until(20_000, async () => {
        const { body } = await operator.get<Jobs>('/v1/jobs');
        const prune = body.jobs.find(({ name }) => name === 'prune');
        return prune?.lastRuns.length === 1 && body.jobs;
      });
      expect(shown.find(({ name }) => name === 'prune')).toMatchObject({
        cron: '17 3 * * *',
        lastRuns: [{ failures: [] }],
      });
      expect(shown.map(({ name }) => name)).toContain('audit');
      expect((await createClient(server.url, deployment).get('/v1/jobs')).status).toBe(403);
    } finally {
      await server.stop();
    }
  });
});
