/**
 * `npm run stack:ha`: two SETs as they are in production, until Ctrl-C: three RabbitMQ nodes each behind HAProxy, and a
 * Setway process each. What dies is started again after a while, as systemd would do it, so there is something to see.
 */
import { rmSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { haSets, startHaStack, type HaSetName, type HaStack } from './ha-stack.ts';
import { haWelcome } from './ha-welcome.ts';
import { deploymentFile, inStep, openDeployment } from './kept-deployment.ts';
import type { Log } from './part.ts';
import { haPortBase, repoDir, stackPlace } from './ports.ts';
import { createSetProcess, type SetProcess } from './set-process.ts';
import { stopSignal } from './stop-signal.ts';

const help = `npm run stack:ha [-- OPTIONS]

Starts two SETs, each a cluster of three RabbitMQ nodes behind HAProxy (as root: two of them, with Keepalived),
one Postgres with a database per SET, one Redis, and a Setway process per SET, until Ctrl-C.
A later start uses the same data and API key. For Linux, with RabbitMQ, HAProxy, Redis and Postgres
installed; as root on Debian it installs them. It takes about 1 GB of memory.

  --fresh      erase the data of earlier starts
  --loopback   one HAProxy per SET on 127.0.0.1, without network namespaces
  --help       this text

  SETWAY_PORT_BASE   first of the 20 ports it may take (${haPortBase})
  SETWAY_STACK_DIR   folder of data, logs and the API key (.setway/ha)
`;

/** Long enough to look around. */
const restartAfterMs = 15_000;
const watchEveryMs = 1_000;

const log: Log = (line) => console.log(line.startsWith('✓') ? line : `  ${line}`);
const signalled = stopSignal();
process.exitCode = await main().catch((error: unknown) => {
  console.error(`\n${error instanceof Error ? error.message : String(error)}`);
  return 1;
});

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { fresh: { type: 'boolean' }, loopback: { type: 'boolean' }, help: { type: 'boolean' } },
  });
  if (values.help) {
    console.log(help);
    return 0;
  }
  const fallback = { portBase: haPortBase, dir: path.join(repoDir, '.setway', 'ha') };
  const stack = await Promise.race([
    startHaStack({
      ...stackPlace(process.env, fallback),
      data: values.fresh ? 'fresh' : 'kept',
      log,
      virtualAddress: values.loopback ? 'loopback' : 'where-possible',
    }),
    signalled,
  ]);
  if (typeof stack === 'string') process.exit(130); // what has started so far is killed with us
  const closers: (() => Promise<void>)[] = [];
  try {
    if (values.fresh) rmSync(deploymentFile(stack.base.addresses.dir), { force: true });
    await Promise.race([serve(stack, closers), signalled]);
    await signalled;
    console.log('\nStopping (once more ends it at once)');
    return 0;
  } finally {
    for (const close of closers.toReversed()) await close();
    await stack.stop();
    console.log('✓ stopped');
  }
}

async function serve(stack: HaStack, closers: (() => Promise<void>)[]): Promise<void> {
  const deployment = await openDeployment(stack.base.addresses, log, {
    make: (report) => stack.deploy('setway', report, inStep),
    createVhost: (set, vhost) => stack.createVhost(set as HaSetName, vhost),
  });
  const edges = haSets.map((id) => createSetProcess(stack, { id, deployment }));
  closers.push(async () => void (await Promise.all(edges.map((edge) => edge.stop()))));
  await Promise.all(edges.map((edge) => edge.start()));
  for (const { id, url } of edges) log(`✓ Setway for ${id}: ${url}`);
  closers.push(watch(watched(stack, edges)));
  console.log(haWelcome(stack, { deployment, edges }));
}

interface Watched {
  readonly name: string;
  readonly isThere: () => boolean;
  readonly start: () => Promise<void>;
}

function watched(stack: HaStack, edges: readonly SetProcess[]): readonly Watched[] {
  const parts = haSets.flatMap((id) => {
    const { cluster, balancers } = stack.sets[id];
    return [...cluster.nodes, ...balancers].map((part) => ({ part, name: `${part.name} of ${id}` }));
  });
  const processes = edges.map((part) => ({ part, name: `Setway of ${part.id}` }));
  return [...parts, ...processes].map(({ part, name }) => ({
    name,
    isThere: () => part.pid !== undefined,
    start: () => part.start(),
  }));
}

/** Says what has died, and starts it again. The returned function ends this, and waits for what is just starting. */
function watch(all: readonly Watched[]): () => Promise<void> {
  const starting = new Map<Watched, Promise<void>>();
  let isOver = false;
  const revive = async (one: Watched): Promise<void> => {
    log(`${one.name} is gone; it is started again in ${restartAfterMs / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, restartAfterMs));
    if (isOver) return;
    await one.start();
    log(`✓ ${one.name} is back`);
  };
  const look = (): void => {
    for (const one of all) {
      if (one.isThere() || starting.has(one)) continue;
      const begun = revive(one).catch((error: unknown) => log(String(error)));
      starting.set(
        one,
        begun.finally(() => starting.delete(one)),
      );
    }
  };
  const timer = setInterval(look, watchEveryMs);
  return async () => {
    isOver = true;
    clearInterval(timer);
    await Promise.all(starting.values());
  };
}
