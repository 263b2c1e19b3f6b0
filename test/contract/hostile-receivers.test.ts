/** Every misbehaviour against every way a webhook call leaves: Node's agent, Node's fetch, and the fetch of workerd. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createWebhookAgent } from '../../functions/node/webhook-request.ts';
import { systemClock } from '../../shared/clock.ts';
import type { WebhookAnswer } from '../../shared/webhook/outcome.ts';
import { postWebhook } from '../../shared/webhook/request.ts';
import { hostiles, hostileTimeoutMs, startHostile, type Hostile } from './hostile-receivers.ts';
import type { BombReport } from './bomb-measurement.ts';
import { startWorkerdCaller, type WorkerdCaller } from './workerd-caller.ts';

const development = { allowHttp: true, allowLoopback: true };

interface Caller {
  readonly post: (url: string, timeoutMs: number) => Promise<WebhookAnswer>;
  stop(): Promise<void>;
}

const orderOf = (url: string, timeoutMs: number) => ({
  url,
  timeoutMs,
  headers: { 'content-type': 'application/json' },
  body: Buffer.from('{}'),
});

const callers: Readonly<Record<string, () => Promise<Caller>>> = {
  'the agent of Node': async () => {
    const agent = createWebhookAgent({ clock: systemClock }, { policy: development });
    return { post: (url, timeoutMs) => agent.post(orderOf(url, timeoutMs)), stop: () => agent.close() };
  },
  'the fetch of Node': async () => ({
    post: (url, timeoutMs) => postWebhook({ fetch, clock: systemClock }, orderOf(url, timeoutMs)),
    stop: async () => undefined,
  }),
  'the fetch of workerd': () => startWorkerdCaller('anywhere'),
};

describe.each(Object.keys(callers))('a receiver, called by %s, that', (name) => {
  let caller: Caller;
  beforeAll(async () => {
    const open = callers[name];
    if (open) caller = await open();
  });
  afterAll(() => caller.stop());

  it.each(hostiles)('$name is a value in time, and the next call works', async (hostile: Hostile) => {
    let isHostile = true;
    const receiver = await startHostile(hostile, () => isHostile);
    try {
      const answer = await caller.post(receiver.url, hostileTimeoutMs);
      const said = 'error' in answer ? 'error' : answer.status;
      expect(hostile.comesBackAs, JSON.stringify(answer)).toContain(said);
      // Nothing is followed, and a receiver may have processed what it broke: only the schedule tries again.
      expect(receiver.requests()).toBe(1);
      isHostile = false;
      expect(await caller.post(receiver.url, 10_000)).toMatchObject({ status: 204 });
    } finally {
      await receiver.close();
    }
  });
});

const mebibyte = 2 ** 20;

describe('a 200 MiB answer in gzip', () => {
  const bomb = hostiles.find((each) => each.name.includes('200 MiB'));

  it('costs a Node process less than 2 MiB', async () => {
    const receiver = await startHostile(bomb as Hostile, () => true);
    const child = fork(path.join(import.meta.dirname, 'bomb-measurement.ts'), [receiver.url], {
      execArgv: ['--expose-gc'],
    });
    const [report] = (await once(child, 'message')) as [BombReport];
    await once(child, 'exit');
    await receiver.close();
    expect(report.statuses).toEqual(Array(report.statuses.length).fill(200));
    expect(report.heldBytes).toBeLessThan(2 * mebibyte);
    expect(report.peakBytes).toBeLessThan(2 * mebibyte);
  });

  it('costs workerd less than 2 MiB a call', async () => {
    const caller: WorkerdCaller = await startWorkerdCaller('anywhere');
    const receiver = await startHostile(bomb as Hostile, () => true);
    for (let warm = 0; warm < 20; warm++) await caller.post(receiver.url, 10_000);
    const beforeBytes = residentBytes(caller.pid);
    for (let call = 0; call < 20; call++)
      expect(await caller.post(receiver.url, 10_000)).toMatchObject({ status: 200 });
    const grownBytes = (residentBytes(caller.pid) - beforeBytes) / 20;
    await receiver.close();
    await caller.stop();
    expect(grownBytes).toBeLessThan(2 * mebibyte);
  });
});

function residentBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) * 1024;
}

describe('workerd with its network as on Cloudflare', () => {
  let caller: Caller;
  beforeAll(async () => void (caller = await startWorkerdCaller('public')));
  afterAll(() => caller.stop());

  it.each(['127.0.0.1', 'localhost', '2130706433', '[::1]', '[::ffff:127.0.0.1]', '0.0.0.0'])(
    'does not reach a server at %s',
    async (host) => {
      const receiver = await startHostile({ misbehave: () => undefined }, () => false);
      const url = receiver.url.replace('127.0.0.1', host);
      expect(await caller.post(url, 5_000)).toEqual({ error: expect.stringMatching(/./) as string });
      expect(receiver.requests()).toBe(0);
      await receiver.close();
    },
  );
});
