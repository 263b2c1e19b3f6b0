/**
 * A whole Setway on this machine, as `npm start` and `npm run demo` run it: the stack, the demo deployment kept in the
 * stack's folder, and the edge in front of it.
 */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import type { StackAddresses } from './addresses.ts';
import type { Deployment } from './deployment.ts';
import { serveEdge, type Platform } from './edge.ts';
import { expectFreePorts } from './free-ports.ts';
import { deploymentFile, openDeployment, readDeployment } from './kept-deployment.ts';
import type { Log } from './part.ts';
import { defaultPortBase, portsFrom, repoDir, stackPlace, type StackPlace } from './ports.ts';
import { isRunning, listProcesses } from './process-tree.ts';
import { stopLeftovers } from './server-process.ts';
import { startStack } from './stack.ts';

export interface LocalOptions extends StackPlace {
  readonly platform: Platform;
  /** `fresh` erases data, deployment and API key of earlier starts first. */
  readonly data: 'kept' | 'fresh';
  readonly log: Log;
}

/** A Setway that somebody runs, as others need it. */
export interface FoundSetway {
  readonly url: string;
  readonly platform: Platform;
  readonly deployment: Deployment;
  /** Of the stack below it. */
  readonly addresses: StackAddresses;
}

export interface LocalSetway extends FoundSetway {
  /** Where the edge writes its lines. */
  readonly logFile: string;
  /** The edge first, then the servers behind it. Calling it twice is fine. */
  stop(): Promise<void>;
}

const recordSchema = z.object({
  pid: z.number(),
  startedAt: z.string(),
  url: z.string(),
  platform: z.enum(['workerd', 'node']),
  addresses: z.custom<StackAddresses>((value) => value !== undefined),
});
type RunRecord = z.infer<typeof recordSchema>;

/**
 * @throws when it cannot start; nothing is left running then
 * @example
 * const setway = await startLocal({ portBase: 18_700, dir: '.setway/start', platform: 'workerd', data: 'kept', log });
 * await setway.stop();
 */
export async function startLocal(options: LocalOptions): Promise<LocalSetway> {
  const { platform, log, data } = options;
  const place = { portBase: options.portBase, dir: path.resolve(options.dir) };
  const other = readRecord(place.dir);
  if (other) throw new Error(alreadyRuns(other));
  const ports = portsFrom(place.portBase);
  const port = platform === 'workerd' ? ports.edge : ports.node;
  const closers: (() => Promise<void>)[] = [];
  let stopping: Promise<void> | undefined;
  const stop = (): Promise<void> => (stopping ??= closeAll(closers));
  try {
    for (const name of await stopLeftovers(place.dir)) log(`${name}: stopped, left by an earlier run`);
    await expectFreePorts({ edge: port });
    const stack = await startStack({ ...place, data, log });
    closers.push(() => stack.stop());
    if (data === 'fresh') forget(place.dir);
    const deployment = await timed(log, 'demo world: four SETs, topics, webhooks, API key', () =>
      openDeployment(stack.addresses, log),
    );
    const logFile = path.join(place.dir, 'edge.log');
    const edge = await timed(log, `edge on ${platform === 'node' ? 'Node' : platform}`, () =>
      serveEdge(platform, { deployment, addresses: stack.addresses, port, dir: place.dir, logFile }),
    );
    closers.push(() => edge.stop());
    writeRecord(place.dir, { url: edge.url, platform, addresses: stack.addresses });
    closers.push(async () => rmSync(recordFile(place.dir), { force: true }));
    return { url: edge.url, platform, deployment, addresses: stack.addresses, logFile, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The last opened first. One that fails does not keep the others open. */
async function closeAll(closers: readonly (() => Promise<void>)[]): Promise<void> {
  const faults: unknown[] = [];
  for (const close of closers.toReversed()) await close().catch((error: unknown) => faults.push(error));
  if (faults.length > 0) throw new AggregateError(faults, faults.map(String).join('\n'));
}

/** Where `npm start` keeps its stack, unless the environment says otherwise. */
export function startPlace(env: NodeJS.ProcessEnv): StackPlace {
  return stackPlace(env, { portBase: defaultPortBase, dir: path.join(repoDir, '.setway', 'start') });
}

/** The Setway that runs in this folder; undefined when there is none. */
export function findRunning(dir: string): FoundSetway | undefined {
  const record = readRecord(dir);
  if (!record) return undefined;
  const { url, platform, addresses } = record;
  return { url, platform, addresses, deployment: readDeployment(dir) };
}

async function timed<T>(log: Log, what: string, work: () => Promise<T>): Promise<T> {
  const begin = performance.now();
  const result = await work();
  log(`✓ ${what} (${((performance.now() - begin) / 1000).toFixed(1)} s)`);
  return result;
}

function alreadyRuns({ pid, url }: RunRecord): string {
  return [
    `Setway already runs from this folder: ${url} (process ${pid}).`,
    'Stop that one, or give this one a place of its own: SETWAY_PORT_BASE=21000 SETWAY_STACK_DIR=.setway/second',
  ].join('\n');
}

function forget(dir: string): void {
  for (const file of [deploymentFile(dir), path.join(dir, 'workerd'), path.join(dir, 'edge.log')])
    rmSync(file, { recursive: true, force: true });
}

function recordFile(dir: string): string {
  return path.join(dir, 'running.json');
}

function writeRecord(dir: string, where: Pick<RunRecord, 'url' | 'platform' | 'addresses'>): void {
  const own = listProcesses().find(({ pid }) => pid === process.pid);
  const record = { pid: process.pid, startedAt: own?.startedAt ?? '', ...where };
  writeFileSync(recordFile(dir), JSON.stringify(record));
}

/** A run that was killed leaves its record; it counts only while that very process runs. */
function readRecord(dir: string): RunRecord | undefined {
  const file = recordFile(dir);
  if (!existsSync(file)) return undefined;
  const { data: record } = recordSchema.safeParse(JSON.parse(readFileSync(file, 'utf8')));
  return record && isRunning(record) ? record : undefined;
}
