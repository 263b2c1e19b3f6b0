/**
 * `npm run demo`: thousands of orders from the world's cities through the Setway that `npm start` runs, or through one
 * started for it, and then the proof: per SET how many, how long it took, nothing lost, nothing doubled. Or, with
 * `--example`, one of the uses in examples/.
 */
import { parseArgs } from 'node:util';
import { demoSets } from '../stack/demo-world.ts';
import { findRunning, startLocal, startPlace, type FoundSetway } from '../stack/local-setway.ts';
import { stopSignal } from '../stack/stop-signal.ts';
import { audit, isClean, readEffects, stockUp } from './audit.ts';
import { sendCopies } from './broker-copies.ts';
import { readCities } from './cities.ts';
import { openSetDatabases, runMark, type DeliveryCounts, type SetDatabases } from './deliveries.ts';
import { listExamples } from './examples/examples.ts';
import { playExample } from './examples/play.ts';
import { makeOrders } from './orders.ts';
import { createPaint } from './paint.ts';
import { grouped, startBar } from './progress-bar.ts';
import { publishOrders } from './publish-orders.ts';
import { report } from './report.ts';
import { drawWorld } from './world-map.ts';

const help = `npm run demo [-- OPTIONS]

Publishes orders from the coordinates of real cities, some of them twice, and checks the
effects in the consumers' tables. Uses the Setway that "npm start" runs, or starts one.

  --orders N        how many (10000)
  --concurrency N   requests at once (64)
  --node            if it has to start one: in one Node process instead of workerd
  --example NAME    play an example instead
  --help            this text

Examples:
${listExamples()}

The exit code is 1 when an effect is missing or doubled, or an example ends wrong.
`;

/** Deliveries that stand still this long will not come any more: above the longest wait of the demo's retry schedule. */
const patienceMs = 150_000;

const pollMs = 250;

interface Expected {
  readonly accepted: number;
  /** Messages put into RabbitMQ a second time. */
  readonly copies: number;
  readonly subscriptions: number;
}

interface Wish {
  readonly orders: number;
  readonly concurrency: number;
}

const signalled = stopSignal();
process.exitCode = await main().catch((error: unknown) => {
  console.error(`\n${error instanceof Error ? error.message : String(error)}`);
  return 1;
});

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      orders: { type: 'string', default: '10000' },
      concurrency: { type: 'string', default: '64' },
      node: { type: 'boolean' },
      example: { type: 'string' },
      help: { type: 'boolean' },
    },
  });
  if (values.help) {
    console.log(help);
    return 0;
  }
  if (values.example !== undefined) return playExample(values.example, signalled);
  const wish = {
    orders: countFrom('--orders', values.orders, 1_000_000),
    concurrency: countFrom('--concurrency', values.concurrency, 1_000),
  };
  const place = startPlace(process.env);
  const found = findRunning(place.dir);
  if (found) return runOrStop(found, wish);
  const log = (line: string): void => console.log(line.startsWith('✓') ? line : `  ${line}`);
  const platform = values.node ? 'node' : 'workerd';
  const started = await Promise.race([startLocal({ ...place, platform, data: 'kept', log }), signalled]);
  if (typeof started === 'string') process.exit(130); // what has started so far is killed with us
  try {
    return await runOrStop(started, wish);
  } finally {
    console.log('\nstopping what was started');
    await started.stop();
  }
}

function countFrom(name: string, text: string, most: number): number {
  const count = Number(text);
  if (Number.isInteger(count) && count > 0 && count <= most) return count;
  throw new Error(`${name} is "${text}"; it must be a whole number from 1 to ${grouped(most)}.`);
}

async function runOrStop(setway: FoundSetway, wish: Wish): Promise<number> {
  const code = await Promise.race([runDemo(setway, wish), signalled]);
  return typeof code === 'number' ? code : 130;
}

async function runDemo({ url, platform, deployment }: FoundSetway, wish: Wish): Promise<number> {
  const { stdout } = process;
  const run = `demo-${Date.now().toString(36)}`;
  const cities = readCities();
  const orders = makeOrders({ run, count: wish.orders, cities, random: Math.random });
  const where = `${url} (${platform === 'node' ? 'Node' : platform})`;
  console.log(
    `\n${grouped(orders.length)} orders from ${grouped(cities.length)} cities to ${where}, run ${run}\n`,
  );
  await stockUp(deployment.consumerDatabaseUrl, run);
  const subscriptions = deployment.seed.subscriptions?.length ?? 0;
  const databases = openSetDatabases(
    Object.values(deployment.databaseUrls),
    runMark(run, Date.now(), subscriptions),
  );
  const beganMs = performance.now();
  const publishing = startBar({ label: 'publishing', total: orders.length, stream: stdout });
  const { apiKey } = deployment;
  const ledger = await publishOrders(
    { url, apiKey, tag: run, concurrency: wish.concurrency, onProgress: (done) => publishing.update(done) },
    orders,
  );
  publishing.end();
  const again = ledger.accepted.filter(({ order }) => order.sending === 'again');
  await sendCopies(deployment.brokerUrls, again, run);
  const accepted = ledger.accepted.length;
  const counts = await waitForDeliveries(databases, { accepted, copies: again.length, subscriptions });
  const totalMs = performance.now() - beganMs;
  const journeys = await databases.journeys();
  await databases.close();
  const found = audit(run, ledger, await readEffects(deployment.consumerDatabaseUrl, run, ledger));
  const sets = demoSets.map(({ id }) => id);
  const paint = createPaint(sets, stdout);
  const world = {
    sets: demoSets.map(({ id, place }) => ({ id, ...place })),
    orders: ledger.accepted.map(({ order, set }) => ({ ...order.city, set })),
    cities,
  };
  const columns = Math.min(stdout.columns ?? 80, 110) - 1;
  const copies = {
    failedOver: counts.stored - accepted,
    sent: again.length,
    calls: counts.firstCalls - accepted * subscriptions,
  };
  const results = { ledger, journeys, audit: found, sets, totalMs, copies };
  console.log(['', ...drawWorld(world, columns, paint), '', ...report(results, paint), ''].join('\n'));
  const isFine = isClean(found);
  console.log(
    isFine
      ? paint.good('✓ Every accepted order had its effects, once.')
      : paint.bad('✗ Effects are missing or doubled, see above.'),
  );
  return isFine ? 0 : 1;
}

/**
 * Waits until every stored message is delivered and the copies have been handed out as well; gives up when nothing
 * moves. A message that failed over lies in two SETs and is delivered by both.
 */
async function waitForDeliveries(
  databases: SetDatabases,
  { accepted, copies, subscriptions }: Expected,
): Promise<DeliveryCounts> {
  const expectedCalls = (stored: number): number => (Math.max(stored, accepted) + copies) * subscriptions;
  const bar = startBar({ label: 'delivering', total: expectedCalls(accepted), stream: process.stdout });
  let counts = await databases.count();
  let movedAtMs = performance.now();
  for (;;) {
    const { stored, firstCalls, done } = counts;
    bar.update(Math.min(firstCalls, expectedCalls(accepted)));
    const isDelivered = stored >= accepted && done >= stored * subscriptions;
    if (isDelivered && firstCalls >= expectedCalls(stored)) break;
    if (performance.now() - movedAtMs > patienceMs) break;
    await new Promise((resolve) => setTimeout(resolve, pollMs));
    counts = await databases.count();
    if (counts.firstCalls > firstCalls || counts.done > done) movedAtMs = performance.now();
  }
  bar.end();
  return counts;
}
