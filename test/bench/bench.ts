/** `npm run bench`: everything measured in one run, on a stack of its own. See options.ts for its options. */
import { benchBacklog } from './backlog-bench.ts';
import { startScript, type Child } from './child.ts';
import { benchBareDelivery, benchDelivery, concurrencies } from './delivery-bench.ts';
import type { Measurement } from './measurement.ts';
import { help, readOptions, type Options } from './options.ts';
import {
  benchLoadGenerator,
  benchPublishOnNode,
  benchPublishOnWorkerd,
  startSetwayOnNode,
  startSetwayOnWorkerd,
  type BenchParts,
} from './publish-bench.ts';
import { benchIsolation, startIsolationReceiver, type IsolationReceiver } from './isolation-bench.ts';
import { benchOrdered } from './ordered-bench.ts';
import { benchRelease } from './release-bench.ts';
import { figuresOf, renderTable } from './result.ts';
import { benchRouting } from './routing-bench.ts';
import { benchWaiting } from './waiting-bench.ts';
import { createWorld, startBenchStack, type Report, type World } from './world.ts';
import { createWebhookSecret } from '../../shared/webhook/signature.ts';
import { stopSignal } from '../stack/stop-signal.ts';

const report: Report = (line) => {
  process.stderr.write(`${(performance.now() / 1000).toFixed(0).padStart(4)} s  ${line}\n`);
};

async function bench(options: Options): Promise<void> {
  if (options.output === 'help') return print(help);
  if (options.only === 'routing') return tell(options, benchRouting());
  const signalled = stopSignal();
  const stack = await Promise.race([startBenchStack(report), signalled]);
  if (typeof stack === 'string') process.exit(130); // what has started so far is killed with us
  try {
    const measuring = measure({ stack, report, seconds: options.seconds }, options);
    const measured = await Promise.race([measuring, signalled]);
    if (typeof measured === 'string') throw new Error(`Stopped by ${measured}`);
    tell(options, measured);
  } finally {
    report('stopping');
    await stack.stop();
  }
}

function tell({ output }: Options, measured: readonly Measurement[]): void {
  print(output === 'json' ? `${JSON.stringify(figuresOf(measured))}\n` : `\n${renderTable(measured)}\n`);
}

async function measure(
  parts: BenchParts,
  { only, waiting, backlog }: Options,
): Promise<readonly Measurement[]> {
  const secret = createWebhookSecret();
  const consumer = { BENCH_SECRET: secret, BENCH_REDIS_URL: parts.stack.redisUrl };
  const receiver = await startScript('receiver.ts', consumer);
  const isolation = await startIsolationReceiver();
  const place = { receiverUrl: receiver.url, isolationUrl: isolation.url, secret, concurrencies };
  const onNode = await createWorld(parts.stack, 'node', place);
  if (waiting > 0) return measureWaiting(parts, onNode, waiting);
  if (backlog > 0) return measureBacklog({ ...parts, receiver }, onNode, backlog);
  if (only === 'isolation') return measureIsolation(parts, onNode, isolation);
  const onWorkerd = await createWorld(parts.stack, 'workerd', place);
  const measured: Measurement[] = [];
  if (only !== 'delivery') {
    measured.push(...benchRouting());
    measured.push(await benchLoadGenerator(parts));
    measured.push(...(await benchPublishOnNode(parts, onNode)));
    measured.push(...(await benchPublishOnWorkerd(parts, onWorkerd)));
  }
  if (only !== 'publish') {
    measured.push(...(await benchDeliveries({ ...parts, receiver }, onNode, onWorkerd)));
    measured.push(...(await measureIsolation(parts, onNode, isolation)));
  }
  isolation.close();
  await receiver.stop();
  return measured;
}

async function measureIsolation(
  parts: BenchParts,
  world: World,
  receiver: IsolationReceiver,
): Promise<readonly Measurement[]> {
  const server = await startSetwayOnNode(parts, world);
  const measured = await benchIsolation(parts, { name: 'Node', server, world }, receiver);
  await server.stop();
  return measured;
}

async function measureWaiting(
  parts: BenchParts,
  world: World,
  waiting: number,
): Promise<readonly Measurement[]> {
  const server = await startSetwayOnNode(parts, world);
  const measured = await benchWaiting(parts, { name: 'Node', server, world }, waiting);
  await server.stop();
  return measured;
}

async function measureBacklog(
  parts: BenchParts & { readonly receiver: Child },
  world: World,
  backlog: number,
): Promise<readonly Measurement[]> {
  const server = await startSetwayOnNode(parts, world);
  const measured = await benchBacklog(parts, { name: 'Node', server, world }, backlog);
  await server.stop();
  return measured;
}

async function benchDeliveries(
  parts: BenchParts & { readonly receiver: Child },
  onNode: World,
  onWorkerd: World,
): Promise<readonly Measurement[]> {
  const bare = await benchBareDelivery(parts);
  const node = await startSetwayOnNode(parts, onNode);
  const delivered = await benchDelivery(parts, { name: 'Node', server: node, world: onNode }, bare);
  const unordered = delivered.find(({ name }) => name.endsWith('× 256'));
  const ordered = await benchOrdered(parts, { name: 'Node', server: node, world: onNode }, unordered);
  const released = await benchRelease(parts, { name: 'Node', server: node, world: onNode });
  await node.stop();
  const workerd = await startSetwayOnWorkerd(parts, onWorkerd);
  const carried = await benchDelivery(parts, { name: 'workerd', server: workerd, world: onWorkerd }, bare);
  await workerd.stop();
  return [...bare.values(), ...delivered, ...ordered, released, ...carried];
}

function print(text: string): void {
  process.stdout.write(text);
}

try {
  await bench(readOptions(process.argv.slice(2)));
} catch (error) {
  report(error instanceof Error ? (error.stack ?? error.message) : String(error));
  process.exitCode = 1;
}
// A child that a failure left is killed with us.
process.exit();
