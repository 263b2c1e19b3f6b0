/** `npm start` as a user meets it: a process that prints, serves, and goes without a trace. */
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeAll, expect, test } from 'vitest';
import { ownServersOnly, privatePlace } from './current-stack.ts';
import { portsFrom, repoDir } from './ports.ts';
import { isRunning, processTree, type ProcessEntry } from './process-tree.ts';

const place = privatePlace(3);
const hasCurl = spawnSync('curl', ['--version']).status === 0;
/** A start, the bundling of the worker and a stop, on a machine that does other things as well. */
const deadlineMs = 150_000;

let started: Started | undefined;

beforeAll(() => rmSync(place.dir, { recursive: true, force: true }));
afterEach(() => {
  started?.child.kill('SIGKILL');
});

interface Started {
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;
  /** Everything printed so far. */
  output(): string;
  /** Resolves when the output holds the text; rejects when the process ends before. */
  printed(text: string): Promise<void>;
}

const env = { ...ownServersOnly(), SETWAY_PORT_BASE: String(place.portBase), SETWAY_STACK_DIR: place.dir };

function start(...args: readonly string[]): Started {
  const file = path.join(import.meta.dirname, 'start.ts');
  const child = spawn(process.execPath, [file, ...args], {
    cwd: repoDir,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  const waiting: (() => void)[] = [];
  const take = (chunk: Buffer): void => {
    output += chunk.toString('utf8');
    waiting.forEach((look) => look());
  };
  child.stdout.on('data', take);
  child.stderr.on('data', take);
  const ended = once(child, 'close').then(([code]) => code as number | null);
  const printed = (text: string): Promise<void> =>
    new Promise((resolve, reject) => {
      const look = (): void => void (output.includes(text) && resolve());
      waiting.push(look);
      look();
      void ended.then((code) => reject(new Error(`It ended with ${code}:\n${output}`)));
    });
  started = { child, ended, output: () => output, printed };
  return started;
}

async function interrupt({ child, ended }: Started): Promise<{ code: number | null; left: ProcessEntry[] }> {
  const tree = processTree(child.pid ?? 0);
  expect(tree.length).toBeGreaterThan(4);
  child.kill('SIGINT');
  const code = await ended;
  return { code, left: tree.filter(isRunning) };
}

function curlLines(output: string): readonly string[] {
  return output.split('\n').filter((line) => line.startsWith('curl '));
}

function runLine(line: string): Record<string, unknown> {
  return JSON.parse(execFileSync('sh', ['-c', line], { encoding: 'utf8' })) as Record<string, unknown>;
}

let firstKey: string | undefined;
let firstTimeline: string | undefined;

test.skipIf(!hasCurl)(
  'npm start serves on workerd, its curl lines work as printed, and Ctrl-C leaves no process',
  async () => {
    const setway = start('--fresh');
    await setway.printed('Stop: Ctrl-C');
    const [nearHangzhou = '', nearFrankfurt = '', timeline = ''] = curlLines(setway.output());
    expect(runLine(nearHangzhou)).toMatchObject({ set: 'hangzhou', route: { reason: 'nearest' } });
    expect(runLine(nearFrankfurt)).toMatchObject({ set: 'frankfurt', route: { reason: 'nearest' } });
    expect(runLine(timeline)).toMatchObject({
      state: 'CONFIRMED',
      deliveries: [{ state: 'DONE' }, { state: 'DONE' }],
    });
    expect(statSync(path.join(place.dir, 'deployment.json')).mode & 0o777).toBe(0o600);
    expect(await interrupt(setway)).toEqual({ code: 0, left: [] });
    firstKey = /API key +(sk_\S+)/.exec(setway.output())?.[1];
    firstTimeline = timeline;
  },
  deadlineMs,
);

test.skipIf(!hasCurl)(
  'a second start, on Node, uses the data and the API key of the first, and the command line finds it',
  async () => {
    const setway = start('--node');
    await setway.printed('Stop: Ctrl-C');
    expect(/API key +(sk_\S+)/.exec(setway.output())?.[1]).toBe(firstKey);
    const { edge, node } = portsFrom(place.portBase);
    const line = (firstTimeline ?? '').replace(String(edge), String(node));
    expect(runLine(line)).toMatchObject({ state: 'CONFIRMED', set: 'hangzhou' });
    const command = [path.join(import.meta.dirname, 'setway-here.ts'), 'sets', 'status', 'hangzhou'];
    const status = execFileSync(process.execPath, command, { cwd: repoDir, env, encoding: 'utf8' });
    expect(status).toContain('hangzhou (unit 1), active');
    expect(await interrupt(setway)).toEqual({ code: 0, left: [] });
  },
  deadlineMs,
);

test('a port that is taken is named, with the setting that moves the stack', async () => {
  const squatter = createServer().listen(portsFrom(place.portBase).edge, '127.0.0.1');
  await once(squatter, 'listening');
  const setway = start();
  expect(await setway.ended).toBe(1);
  expect(setway.output()).toMatch(/Something else listens on \d+ \(edge\)[^]*SETWAY_PORT_BASE/);
  squatter.close();
});

test('an option that does not exist is refused', async () => {
  const setway = start('--frsh');
  expect(await setway.ended).toBe(1);
  expect(setway.output()).toMatch(/--frsh/);
});
