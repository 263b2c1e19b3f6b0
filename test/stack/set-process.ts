/** Setway in a Node process that hosts one SET of an HA stack and is its edge, as each region has one in production. */
import path from 'node:path';
import { directSettings, type Deployment } from './deployment.ts';
import type { HaSetName, HaStack } from './ha-stack.ts';
import { repoDir } from './ports.ts';
import { checkPort } from './rabbitmq.ts';
import { ServerProcess } from './server-process.ts';

export interface SetProcess {
  readonly id: HaSetName;
  readonly url: string;
  readonly pid: number | undefined;
  readonly logFile: string;
  start(): Promise<void>;
  stop(): Promise<void>;
  kill(): Promise<void>;
}

export interface SetProcessOptions {
  readonly id: HaSetName;
  readonly deployment: Pick<Deployment, 'settings'>;
  /** Beyond those of the deployment. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Whom to run it as; ourselves without it. */
  readonly user?: { readonly uid: number; readonly gid: number } | undefined;
}

/** @example const edge = createSetProcess(stack, { id: 'hangzhou', deployment }); await edge.start(); */
export function createSetProcess(stack: HaStack, options: SetProcessOptions): SetProcess {
  const { id, deployment, settings, user } = options;
  const { edgePort } = stack.sets[id];
  const { addresses } = stack.base;
  const name = `setway-${id}`;
  const inherited = Object.entries(process.env).filter(([key]) => !key.startsWith('SETWAY_'));
  const server = new ServerProcess({
    name,
    command: process.execPath,
    args: [path.join(repoDir, 'functions', 'node', 'server.ts')],
    env: {
      ...Object.fromEntries(inherited),
      ...deployment.settings,
      ...directSettings(addresses),
      SETWAY_HOSTED_SETS: id,
      SETWAY_PORT: String(edgePort),
      ...settings,
    },
    user,
    stopSignal: 'SIGTERM',
    dir: addresses.dir,
  });
  return {
    id,
    url: `http://127.0.0.1:${edgePort}`,
    get pid() {
      return server.pid;
    },
    logFile: path.join(addresses.dir, `${name}.log`),
    start: () => server.start(() => checkPort(edgePort), 60_000),
    stop: () => server.stop(),
    kill: () => server.kill(),
  };
}
