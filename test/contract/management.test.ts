/** The management client against a real RabbitMQ, and against everything else that may answer at its address. */
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Problem } from '../../shared/problem.ts';
import type { Policy } from '../../shared/topology/management.ts';
import { openManagement } from '../../shared/topology/rabbitmq-management.ts';
import { useStack } from '../stack/current-stack.ts';
import { until } from '../stack/until.ts';

const { managementUrl, amqpUrl } = useStack();
const management = openManagement({ fetch }, managementUrl);
const vhost = `management/${crypto.randomUUID().slice(0, 8)}`;
const user = `user-${crypto.randomUUID().slice(0, 8)}`;

async function problemOf(work: Promise<unknown>): Promise<Problem> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof Problem)) throw new Error(`Not a Problem: ${String(error)}`);
  return error;
}

afterAll(async () => {
  await management.vhosts.remove(vhost);
  await management.users.remove(user);
});

describe('a vhost and its user', () => {
  it('tells which RabbitMQ it is and that nothing ails it', async () => {
    const { version, features } = await management.overview();
    expect(version).toMatch(/^\d+\.\d+/);
    expect(features.maxMessageBytes).toBeGreaterThan(0);
    expect(await management.ailments()).toEqual([]);
    expect(await management.nodes()).toEqual([
      expect.objectContaining({ isRunning: true, alarms: [], partitions: [] }),
    ]);
  });

  it('makes a vhost, twice, with limits that come and go', async () => {
    expect(await management.vhosts.find(vhost)).toBeUndefined();
    await management.vhosts.put(vhost, 'made by a test');
    await management.vhosts.put(vhost, 'made by a test');
    expect(await management.vhosts.find(vhost)).toEqual({ name: vhost, description: 'made by a test' });
    await management.vhosts.limit(vhost, { maxConnections: 7, maxQueues: 9 });
    expect(await management.vhosts.limits(vhost)).toEqual({ maxConnections: 7, maxQueues: 9 });
    await management.vhosts.limit(vhost, { maxQueues: 100 });
    await management.vhosts.limit(vhost, { maxQueues: 100 });
    expect(await management.vhosts.limits(vhost)).toEqual({ maxQueues: 100 });
  });

  it('makes a user whose password can be checked, with permissions', async () => {
    expect(await management.users.find(user)).toBeUndefined();
    await management.users.put(user, 'geheim');
    const found = await management.users.find(user);
    expect(found?.tags).toEqual([]);
    expect(found?.hasPassword('geheim')).toBe(true);
    expect(found?.hasPassword('Geheim')).toBe(false);
    expect(await management.users.permissions(vhost, user)).toBeUndefined();
    const permissions = { configure: '^a', write: '', read: '^b' };
    await management.users.permit(vhost, user, permissions);
    expect(await management.users.permissions(vhost, user)).toEqual(permissions);
  });
});

describe('what is in a vhost', () => {
  const definitions = {
    exchanges: [{ name: 'setway.topic.a', type: 'topic' }],
    queues: [{ name: 'setway.sub.a', arguments: { 'x-queue-type': 'quorum' } }],
    bindings: [{ exchange: 'setway.topic.a', queue: 'setway.sub.a', bindingKey: 'a.*.#' }],
  };

  it('declares exchanges, queues and bindings in one call, as often as you like', async () => {
    await management.define(vhost, definitions);
    await management.define(vhost, definitions);
    const [queue] = await management.queues.list(vhost);
    expect(queue).toMatchObject({ name: 'setway.sub.a', messages: 0, consumers: 0 });
    expect(queue?.leader).toBeTruthy();
    expect(await management.exchanges.list(vhost)).toContainEqual(
      expect.objectContaining({ name: 'setway.topic.a', type: 'topic' }),
    );
    const bindings = await management.bindings.list(vhost);
    expect(bindings).toContainEqual(
      expect.objectContaining({ source: 'setway.topic.a', bindingKey: 'a.*.#' }),
    );
  });

  it('takes a binding, a queue and an exchange away, and does not mind when they are gone', async () => {
    const bound = (await management.bindings.list(vhost)).filter(({ source }) => source !== '');
    for (const binding of [...bound, ...bound]) await management.bindings.remove(vhost, binding);
    expect((await management.bindings.list(vhost)).filter(({ source }) => source !== '')).toEqual([]);
    for (let times = 0; times < 2; times++) {
      await management.queues.remove(vhost, 'setway.sub.a');
      await management.exchanges.remove(vhost, 'setway.topic.a');
    }
    expect(await management.queues.list(vhost)).toEqual([]);
  });

  it.each(['policies', 'operatorPolicies'] as const)('sets, lists and deletes %s', async (kind) => {
    const policy: Policy = {
      name: 'guard',
      pattern: '^setway',
      applyTo: 'queues',
      priority: 3,
      definition: { 'max-length': 1000 },
    };
    await management[kind].put(vhost, policy);
    expect(await management[kind].list(vhost)).toEqual([policy]);
    await management[kind].remove(vhost, 'guard');
    await management[kind].remove(vhost, 'guard');
    expect(await management[kind].list(vhost)).toEqual([]);
  });
});

describe('federation and shovels', () => {
  const uri = `${amqpUrl}/${encodeURIComponent(vhost)}`;
  beforeAll(async () => {
    const queue = (name: string) => ({ name, arguments: { 'x-queue-type': 'quorum' } });
    await management.define(vhost, {
      exchanges: [{ name: 'events', type: 'topic' }],
      queues: [queue('from'), queue('to')],
      bindings: [],
    });
  });

  it('sees a federation link run, and fail with its reason', async () => {
    await management.parameters.put('federation-upstream', vhost, {
      name: 'self',
      value: { uri, 'max-hops': 1, 'reconnect-delay': 1 },
    });
    await management.parameters.put('federation-upstream-set', vhost, {
      name: 'all',
      value: [{ upstream: 'self' }],
    });
    await management.policies.put(vhost, {
      name: 'federate',
      pattern: '^events$',
      applyTo: 'exchanges',
      priority: 0,
      definition: { 'federation-upstream-set': 'all' },
    });
    await until(10_000, async () =>
      (await management.links.federation(vhost)).some(
        ({ status, name }) => status === 'running' && name === 'events',
      ),
    );
    await management.parameters.put('federation-upstream', vhost, {
      name: 'self',
      value: { uri: uri.replace('guest:guest', 'guest:wrong'), 'reconnect-delay': 1 },
    });
    const [failed] = await until(10_000, async () => {
      const links = await management.links.federation(vhost);
      return links.some(({ status }) => status === 'error') && links;
    });
    expect(failed?.error).toBeTruthy();
    for (const component of ['federation-upstream-set', 'federation-upstream'] as const) {
      for (const { name } of await management.parameters.list(component, vhost))
        await management.parameters.remove(component, vhost, name);
      expect(await management.parameters.list(component, vhost)).toEqual([]);
    }
  });

  it('sees a shovel run', async () => {
    const value = {
      'src-protocol': 'amqp091',
      'src-uri': uri,
      'src-queue': 'from',
      'dest-protocol': 'amqp091',
      'dest-uri': uri,
      'dest-queue': 'to',
    };
    await management.parameters.put('shovel', vhost, { name: 'over', value });
    await until(10_000, async () =>
      (await management.links.shovels(vhost)).some(
        ({ name, state }) => name === 'over' && state === 'running',
      ),
    );
    await management.parameters.remove('shovel', vhost, 'over');
    expect(await management.parameters.list('shovel', vhost)).toEqual([]);
  });
});

describe('what goes wrong', () => {
  let server: Server;
  let answer: RequestListener;
  let url: string;
  beforeAll(async () => {
    server = createServer((request, response) => answer(request, response));
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
    url = `http://admin:s3cr3t@127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });

  const ask = (timeoutMs = 2_000): Promise<Problem> =>
    problemOf(openManagement({ fetch, timeoutMs }, url).queues.list('v'));

  it('says that user or password are wrong', async () => {
    const wrong = new URL(managementUrl);
    wrong.password = 'wrong-s3cr3t';
    const problem = await problemOf(openManagement({ fetch }, wrong.href).overview());
    expect(problem.kind).toBe('invalid-settings');
    expect(problem.message).toContain('HTTP 401');
    expect(problem.message).not.toContain('s3cr3t');
  });

  it('says what RabbitMQ refuses, in its words', async () => {
    const bad: Policy = {
      name: 'bad',
      pattern: '^x',
      applyTo: 'queues',
      priority: 0,
      definition: { nope: 1 },
    };
    const problem = await problemOf(management.policies.put(vhost, bad));
    expect(problem.kind).toBe('conflict');
    expect(problem.message).toContain('not recognised policy settings');
    const missing = await problemOf(management.policies.put('not-there', bad));
    expect(missing.kind).toBe('not-found');
  });

  it.each([
    { what: 'an HTML page', status: 200, body: '<html>Welcome</html>', kind: 'invalid-settings' },
    { what: 'an HTML 404', status: 404, body: '<html>Not here</html>', kind: 'invalid-settings' },
    { what: 'a redirect', status: 302, body: '', kind: 'invalid-settings' },
    { what: '405', status: 405, body: '', kind: 'invalid-settings' },
    { what: '500', status: 500, body: '{"error":"internal"}', kind: 'broker-unavailable' },
    { what: 'an HTML 503', status: 503, body: '<html>Away</html>', kind: 'broker-unavailable' },
  ])('makes a Problem of $what', async ({ status, body, kind }) => {
    answer = (_request, response) =>
      void response.writeHead(status, { location: 'http://elsewhere/' }).end(body);
    const problem = await ask();
    expect(problem.kind).toBe(kind);
    expect(problem.message).not.toContain('s3cr3t');
  });

  it('does not wait for an answer that drips', async () => {
    answer = (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      const drip = setInterval(() => response.write(' '), 20);
      response.on('close', () => clearInterval(drip));
    };
    const problem = await ask(300);
    expect(problem.kind).toBe('broker-unavailable');
    expect(problem.message).toContain('within 300 ms');
  });

  it('does not take in an answer without end', async () => {
    const chunk = Buffer.alloc(1_048_576, ' ');
    answer = (_request, response) => {
      const write = (): void => {
        while (response.writable && response.write(chunk));
      };
      response.writeHead(200, { 'content-type': 'application/json' }).on('drain', write);
      write();
    };
    const problem = await ask(20_000);
    expect(problem.message).toContain('33554432 bytes');
  });

  it('says that nobody listens', async () => {
    const problem = await problemOf(openManagement({ fetch }, 'http://admin:s3cr3t@127.0.0.1:1').overview());
    expect(problem.kind).toBe('broker-unavailable');
    expect(problem.message).not.toContain('s3cr3t');
  });

  it.each(['amqp://u:p@host', 'nonsense', 'http://host:15672'])('refuses the URL %s', (bad) => {
    expect(() => openManagement({ fetch }, bad)).toThrow(/management URL/);
  });
});
