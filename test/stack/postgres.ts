/** Postgres with fsync on: what a 202 promises must be measured and tested on the durability users get. */
import { execFile, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chownSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { listProcesses } from './process-tree.ts';
import type { Log, Part } from './part.ts';
import { ServerProcess } from './server-process.ts';

export interface PostgresPlace {
  /** Folder of `postgres` and `initdb`. */
  readonly binDir: string;
  readonly dir: string;
  readonly port: number;
  readonly log: Log;
}

interface User {
  readonly uid: number;
  readonly gid: number;
}

const options = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  max_connections: '200',
  fsync: 'on',
  synchronous_commit: 'on',
  timezone: 'UTC',
};

export function createPostgres({ binDir, dir, port, log }: PostgresPlace): Part {
  const user = process.getuid?.() === 0 ? serverUser() : undefined;
  const home = homeFor({ dir, port, user });
  const data = path.join(home, 'data');
  const server = new ServerProcess({
    name: 'postgres',
    command: path.join(binDir, 'postgres'),
    args: [
      '-D',
      data,
      '-p',
      String(port),
      ...Object.entries(options).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    ],
    cwd: home,
    user,
    stopSignal: 'SIGINT', // fast shutdown: https://www.postgresql.org/docs/current/server-shutdown.html
    dir,
  });
  return {
    name: 'postgres',
    start: async () => {
      await initialise({ binDir, home, data, user, log });
      removeStaleLock(data);
      await server.start(() => checkPostgres(postgresUrlAt(port)), 60_000);
    },
    stop: () => server.stop(),
    kill: () => server.kill(),
    pause: () => server.pause(),
    resume: () => server.resume(),
  };
}

/**
 * A postmaster that was killed leaves its lock file, and Postgres respects it as long as the process can be signalled:
 * also when it is dead and only waits to be reaped.
 */
function removeStaleLock(data: string): void {
  const lock = path.join(data, 'postmaster.pid');
  if (!existsSync(lock)) return;
  const pid = Number.parseInt(readFileSync(lock, 'utf8'), 10);
  if (!listProcesses().some((entry) => entry.pid === pid)) rmSync(lock);
}

/** The address of the maintenance database; trust on loopback, the password is there for drivers that insist. */
export function postgresUrlAt(port: number): string {
  return `postgres://setway:setway@127.0.0.1:${port}/postgres`;
}

/** @throws when Postgres does not answer a query within 2 s */
export async function checkPostgres(postgresUrl: string): Promise<void> {
  const client = new pg.Client({
    connectionString: postgresUrl,
    connectionTimeoutMillis: 2_000,
    query_timeout: 2_000,
  });
  client.on('error', () => {}); // a connection lost after the answer changes nothing
  try {
    await client.connect();
    await client.query('SELECT 1');
  } finally {
    await client.end();
  }
}

/** Deletes the data, wherever it lies. */
export function erasePostgres({ dir, port }: { dir: string; port: number }): void {
  for (const home of [homeIn(dir), homeOutside(dir, port)]) rmSync(home, { recursive: true, force: true });
}

/** An interrupted initdb must not pass for a finished one, so it works beside and is renamed when done. */
async function initialise(place: {
  binDir: string;
  home: string;
  data: string;
  user: User | undefined;
  log: Log;
}): Promise<void> {
  const { binDir, home, data, user, log } = place;
  if (existsSync(data)) return;
  log('postgres: creating the data folder');
  const draft = path.join(home, 'draft');
  rmSync(draft, { recursive: true, force: true });
  const args = [
    '-D',
    draft,
    '-U',
    'setway',
    '--auth=trust',
    '--encoding=UTF8',
    '--locale=C',
    '--no-instructions',
  ];
  // Not execFileSync: what starts beside it would get its answers late, and take that for silence.
  await promisify(execFile)(path.join(binDir, 'initdb'), args, { cwd: home, ...user });
  renameSync(draft, data);
}

/** Postgres refuses root. Debian's package brings the user `postgres`; `nobody` is everywhere. */
function serverUser(): User {
  const lines = readFileSync('/etc/passwd', 'utf8').split('\n');
  for (const name of ['postgres', 'nobody']) {
    const fields = lines.find((line) => line.startsWith(`${name}:`))?.split(':');
    if (fields !== undefined) return { uid: Number(fields[2]), gid: Number(fields[3]) };
  }
  throw new Error(
    'Postgres refuses to run as root, and neither the user "postgres" nor "nobody" exists. Add one of them.',
  );
}

/** Below `dir`, unless the server's user cannot get there (a checkout in /root): then in the temporary folder. */
function homeFor({ dir, port, user }: { dir: string; port: number; user: User | undefined }): string {
  return (
    [homeIn(dir), homeOutside(dir, port)].find((home) => isReachable(home, user)) ?? homeOutside(dir, port)
  );
}

function homeIn(dir: string): string {
  return path.join(dir, 'postgres');
}

function homeOutside(dir: string, port: number): string {
  const key = createHash('sha256').update(`${dir}:${port}`).digest('hex').slice(0, 12);
  return path.join(tmpdir(), `setway-postgres-${key}`);
}

function isReachable(home: string, user: User | undefined): boolean {
  mkdirSync(home, { recursive: true, mode: 0o700 });
  if (user === undefined) return true;
  chownSync(home, user.uid, user.gid);
  const isIn = spawnSync('test', ['-w', path.join(home, '.')], { cwd: '/', ...user }).status === 0;
  if (!isIn) rmSync(home, { recursive: true });
  return isIn;
}
