/**
 * `npm start`: a whole Setway on this machine until Ctrl-C.
 *
 * The first Ctrl-C (or SIGTERM) stops it gracefully, the edge first; a second one ends it at once. Data, API key and
 * Durable Object storage stay in the stack's folder for the next start.
 */
import { parseArgs } from 'node:util';
import { sendFirstOrder } from './first-order.ts';
import { startLocal, startPlace, type LocalOptions, type LocalSetway } from './local-setway.ts';
import { defaultPortBase } from './ports.ts';
import { stopSignal } from './stop-signal.ts';
import { welcome } from './welcome.ts';

const help = `npm start [-- OPTIONS]

Starts RabbitMQ, Redis and Postgres of its own, a demo world of four SETs, and the edge
with its cron functions, until Ctrl-C. A later start uses the same data and API key.

  --fresh   erase the data of earlier starts
  --node    serve everything in one Node process instead of workerd (npm run start:node)
  --help    this text

  SETWAY_PORT_BASE   first of the 20 ports it may take (${defaultPortBase})
  SETWAY_STACK_DIR   folder of data, logs and the API key (.setway/start)
`;

const signalled = stopSignal();
process.exitCode = await main().catch((error: unknown) => {
  console.error(`\n${error instanceof Error ? error.message : String(error)}`);
  return 1;
});

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { fresh: { type: 'boolean' }, node: { type: 'boolean' }, help: { type: 'boolean' } },
  });
  if (values.help) {
    console.log(help);
    return 0;
  }
  return serve({
    ...startPlace(process.env),
    platform: values.node ? 'node' : 'workerd',
    data: values.fresh ? 'fresh' : 'kept',
    log: (line) => console.log(line.startsWith('✓') ? line : `  ${line}`),
  });
}

async function serve(options: LocalOptions): Promise<number> {
  const setway = await Promise.race([startLocal(options), signalled]);
  if (typeof setway === 'string') process.exit(130); // what has started so far is killed with us
  try {
    const isReady = await Promise.race([greet(setway), signalled]);
    if (isReady === undefined) await signalled;
    console.log('\nStopping (once more ends it at once)');
    return 0;
  } finally {
    await setway.stop();
    console.log('✓ stopped');
  }
}

async function greet(setway: LocalSetway): Promise<void> {
  const first = await sendFirstOrder(setway);
  const { set, distanceKm, deliveredTo } = first;
  console.log(
    `✓ a first order from Hangzhou: SET ${set}, ${distanceKm} km, delivered to ${deliveredTo.join(' and ')}`,
  );
  console.log(welcome(setway, first));
}
