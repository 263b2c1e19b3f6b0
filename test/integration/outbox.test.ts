/** The outbox end to end: whoever dies when, and whoever comes twice, each committed row is one message. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { relayOutboxes } from '../../scheduled/relay-outbox.ts';
import type { SqlRunner } from '../../shared/idempotency/sql.ts';
import { install, outbox } from '../../shared/outbox/outbox.ts';
import { useStack } from '../stack/current-stack.ts';
import { deploy, directSettings, freshPrefix, type Deployment } from '../stack/deployment.ts';
import { openJobProcess, type JobProcess } from '../stack/job-process.ts';
import { addListeners } from '../stack/listeners.ts';
import { platforms, type RunningPlatform } from '../stack/platform.ts';
import { repoDir } from '../stack/ports.ts';
import { query } from '../stack/query.ts';
import { until } from '../stack/until.ts';
import { startWebhookReceiver, type WebhookReceiver } from '../stack/webhook-receiver.ts';

let receiver: WebhookReceiver;
let postgresUrl: string;
let pool: pg.Pool;
let sql: SqlRunner;

beforeAll(async () => {
  receiver = await startWebhookReceiver();
  ({ postgresUrl } = await useStack().createCorner('user'));
  pool = new pg.Pool({ connectionString: postgresUrl, max: 5 });
  sql = (text, params) => pool.query(text, [...params]);
  await install(sql);
});
afterAll(async () => {
  await pool.end();
  await receiver.stop();
});
beforeEach(() => pool.query('DELETE FROM setway_outbox'));

function deployWithOutbox(): Promise<Deployment> {
  return deploy(
    useStack(),
    freshPrefix('outbox'),
    () => undefined,
    (seed) => ({
      ...addListeners(seed, receiver.url, { mail: {} }),
      outboxes: [{ name: 'users', owner: 'demo', databaseUrl: postgresUrl }],
    }),
  );
}

const mail = (to: string) => ({ topic: 'events', tag: 'mail', body: { to } });
const free = () => pool.query('UPDATE setway_outbox SET free_at = now()');
const isEmpty = async () => (await pool.query('SELECT FROM setway_outbox')).rowCount === 0;

/** Every message of the deployment that says this, wherever it is stored. */
async function stored({ databaseUrls }: Deployment, to: string): Promise<readonly string[]> {
  const text = `SELECT id FROM message_body WHERE convert_from(body, 'UTF8')::json->>'to' = $1`;
  const found = await Promise.all(Object.values(databaseUrls).map((url) => query(url, text, [to])));
  return found.flat().map((row) => String(row['id']));
}

const heard = (to: string): number =>
  receiver.calls.filter(({ body }) => body.toString() === JSON.stringify({ to })).length;

/**
 * Delivered, once, and stored once.
 *
 * @param cron a host that took it for the relay may have left before it was sent: the next minute's cron sends it, which
 * a host that lives elsewhere would find within 15 s
 */
async function isOne(deployment: Deployment, to: string, cron: () => Promise<unknown>): Promise<void> {
  await until(30_000, async () => {
    if (heard(to) === 0) await cron();
    return heard(to) > 0;
  });
  expect(await stored(deployment, to)).toHaveLength(1);
  expect(heard(to)).toBe(1);
}

describe.each(platforms)('the outbox on $name', (platform) => {
  let deployment: Deployment;
  let server: RunningPlatform;

  beforeAll(async () => {
    deployment = await deployWithOutbox();
    server = await platform.start(deployment);
  });
  afterAll(() => server.stop());

  const publish = () => ({ url: server.url, apiKey: deployment.apiKey });
  const minute = () => server.runCron('* * * * *');

  it('is flushed after the commit', async () => {
    const to = `flush@${platform.name}`;
    const client = await pool.connect();
    await client.query('BEGIN');
    await outbox((text, params) => client.query(text, [...params])).add(mail(to));
    await client.query('COMMIT');
    client.release();
    expect(await outbox(sql, { publish: publish() }).flush()).toEqual({ taken: 1, refused: 0, later: 0 });
    expect(await isEmpty()).toBe(true);
    await isOne(deployment, to, minute);
  });

  it('is drained by the cron when the producer was killed between commit and flush', async () => {
    const to = `killed@${platform.name}`;
    await commitAndDie(to);
    expect(await stored(deployment, to)).toEqual([]);
    await minute();
    await until(20_000, isEmpty);
    await isOne(deployment, to, minute);
  });

  it('keeps what breaks a rule, with the reason, and publishes the rest', async () => {
    const [bad, good] = [`bad@${platform.name}`, `good@${platform.name}`];
    await outbox(sql).add({ ...mail(bad), callback: { failure: 'http://10.0.0.1/hook' } });
    await outbox(sql).add(mail(good));
    await minute();
    await isOne(deployment, good, minute);
    const { rows } = await sql('SELECT refused FROM setway_outbox WHERE refused IS NOT NULL', []);
    expect(rows).toEqual([{ refused: expect.stringMatching(/^destination-refused: /) as string }]);
    expect(await stored(deployment, bad)).toEqual([]);
    await sql('DELETE FROM setway_outbox WHERE refused IS NOT NULL', []);
  });

  it('is the same message when the answer to a flush was lost and the relay comes', async () => {
    const to = `lost@${platform.name}`;
    await outbox(sql).add(mail(to));
    const losing: typeof fetch = async (...request) => {
      await fetch(...request);
      throw new Error('The answer is lost.');
    };
    const flushed = await outbox(sql, { publish: { ...publish(), fetch: losing } }).flush();
    expect(flushed).toEqual({ taken: 0, refused: 0, later: 1 });
    await free();
    await minute();
    await until(20_000, isEmpty);
    await isOne(deployment, to, minute);
  });
});

/** A process of its own: commits a row and, before it comes to its flush, is gone without a word. */
async function commitAndDie(to: string): Promise<void> {
  const module = path.join(repoDir, 'shared', 'outbox', 'outbox.ts');
  const script = `
    import pg from 'pg';
    import { outbox } from ${JSON.stringify(module)};
    const client = new pg.Client(${JSON.stringify(postgresUrl)});
    await client.connect();
    await client.query('BEGIN');
    await outbox((text, params) => client.query(text, [...params])).add(${JSON.stringify(mail(to))});
    await client.query('COMMIT');
    console.log('committed');
    await new Promise((resolve) => setTimeout(resolve, 60_000));`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    cwd: repoDir,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  await Promise.race([once(child.stdout, 'data'), exited]);
  child.kill('SIGKILL');
  const [, signal] = (await exited) as [number | null, string | null];
  expect(signal).toBe('SIGKILL');
}

describe('the relay', () => {
  let deployment: Deployment;
  let jobs: JobProcess;

  beforeAll(async () => {
    deployment = await deployWithOutbox();
    jobs = openJobProcess({ ...deployment.settings, ...directSettings(useStack()) });
  });
  afterAll(() => jobs.close());

  it('publishes each row once though it runs twice at once', async () => {
    const all = Array.from({ length: 20 }, (_, index) => `both-${index}@relay`);
    for (const to of all) await outbox(sql).add(mail(to));
    const reports = await jobs.run(relayOutboxes, relayOutboxes);
    expect(reports.flatMap(({ failures }) => failures)).toEqual([]);
    expect(reports.reduce((sum, { handled }) => sum + handled, 0)).toBe(all.length);
    expect(await isEmpty()).toBe(true);
    for (const to of all) expect(await stored(deployment, to)).toHaveLength(1);
  });

  it('loses and doubles nothing when it dies at any of its steps', async () => {
    const users = jobs.parts.userDatabase(postgresUrl);
    // Each round trip to the user's database is a step: the claim, then, after the publishes, the settling.
    for (const [step, moment] of [0, 1].flatMap((each) => [
      [each, 'before'] as const,
      [each, 'after'] as const,
    ])) {
      const to = `${moment}-${step}@relay`;
      await outbox(sql).add(mail(to));
      let asked = 0;
      let hasDied = false;
      const mortal: SqlRunner = async (text, params) => {
        const isHere = asked++ === step;
        if (isHere && moment === 'before') hasDied = true;
        if (hasDied) throw new Error('dead');
        const answer = await users(text, params);
        if (isHere) hasDied = true;
        if (hasDied) throw new Error('dead');
        return answer;
      };
      await relayOutboxes.run({ ...jobs.parts, userDatabase: () => mortal });
      expect(hasDied).toBe(true);
      await free();
      const [report] = await jobs.run(relayOutboxes);
      expect(report?.failures).toEqual([]);
      expect(await isEmpty()).toBe(true);
      expect(await stored(deployment, to)).toHaveLength(1);
    }
  });

  it('says which outbox it cannot reach, and drains the others', async () => {
    await outbox(sql).add(mail('reached@relay'));
    const catalog = await jobs.parts.catalog.current();
    const [users] = catalog.outboxes;
    if (!users) throw new RangeError('The outbox is not registered.');
    const outboxes = [{ ...users, name: 'elsewhere', table: 'not_there' }, users];
    const result = await relayOutboxes.run({
      ...jobs.parts,
      catalog: { current: async () => ({ ...catalog, outboxes }) },
    });
    expect(result).toMatchObject({ handled: 1, failures: [{ set: 'outbox elsewhere' }] });
    expect(await stored(deployment, 'reached@relay')).toHaveLength(1);
  });
});
