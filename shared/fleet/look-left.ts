/**
 * Looks what a SET still holds: in its databases, and in RabbitMQ. AMQP counts exactly what is ready, and knows nothing of
 * what is handed out; the statistics know both, some seconds late. Of two counts the higher one is told, and where only
 * the statistics see something, they are given time to catch up.
 */
import type { Management } from '../topology/management.ts';
import { loginOf } from './broker-url.ts';
import type { FleetParts, FoundSet } from './fleet.ts';
import { sumLeft, tellLeft } from '../sets/left.ts';

export interface Left {
  /** One line for each kind; none: nothing would be lost. */
  readonly lines: readonly string[];
  /** Messages by queue, empty ones left out. */
  readonly queues: ReadonlyMap<string, number>;
  /** Whether the databases hold nothing. */
  readonly isStoreEmpty: boolean;
}

/** RabbitMQ collects statistics every 5 s, and a quorum queue tells its own every 5 s. */
const statisticsLagMs = 12_000;
const lookEveryMs = 500;

/** @throws Problem when RabbitMQ or a database does not answer: what cannot be seen may be there */
export async function lookLeft(
  parts: FleetParts,
  management: Management,
  found: Pick<FoundSet, 'entry'>,
): Promise<Left> {
  const endMs = parts.clock.nowMs() + statisticsLagMs;
  for (;;) {
    const { isCertain, ...left } = await lookOnce(parts, management, found);
    if (isCertain || parts.clock.nowMs() >= endMs) return left;
    await pause(parts);
  }
}

async function lookOnce(
  parts: FleetParts,
  management: Management,
  { entry }: Pick<FoundSet, 'entry'>,
): Promise<Left & { readonly isCertain: boolean }> {
  const [databases, { ready, counted }] = await Promise.all([
    Promise.all(entry.databaseUrls.map((url) => parts.database(url).left(entry.id))),
    depthsOf(parts, management, entry),
  ]);
  const left = sumLeft(databases);
  const isStoreEmpty = Object.values(left).every((count) => count === 0);
  const queues = new Map([...counted].map(([name, count]) => [name, Math.max(count, ready.get(name) ?? 0)]));
  for (const [name, count] of queues) if (count === 0) queues.delete(name);
  const isReady = [...ready.values()].some((count) => count > 0);
  return {
    queues,
    isStoreEmpty,
    lines: tellLeft(left, queues),
    isCertain: queues.size === 0 || isReady || !isStoreEmpty,
  };
}

interface Depths {
  readonly ready: ReadonlyMap<string, number>;
  /** Ready and handed out, some seconds ago; every queue of the vhost, ours or not: it goes with all of them. */
  readonly counted: ReadonlyMap<string, number>;
}

async function depthsOf(
  parts: FleetParts,
  management: Management,
  entry: FoundSet['entry'],
): Promise<Depths> {
  const { vhost } = loginOf(entry.brokerUrls[0] ?? '');
  if (!(await management.vhosts.find(vhost))) return { ready: new Map(), counted: new Map() };
  const listed = await management.queues.list(vhost);
  const ours = listed.map(({ name }) => name).filter((name) => name.startsWith('setway.'));
  const ready = await parts.withBroker(entry.brokerUrls, (broker) => broker.depths(ours));
  return { ready, counted: new Map(listed.map(({ name, messages }) => [name, messages])) };
}

/**
 * After a fence: waits until nobody consumes, so that what was handed out is ready again and counted.
 * @returns queues that are still consumed in the end
 */
export async function awaitNoConsumers(
  parts: FleetParts,
  management: Management,
  { brokerUrls }: FoundSet['entry'],
): Promise<readonly string[]> {
  const { vhost } = loginOf(brokerUrls[0] ?? '');
  const endMs = parts.clock.nowMs() + statisticsLagMs * 2;
  for (;;) {
    const consumed = (await management.queues.list(vhost)).filter(
      ({ consumers, name }) => consumers > 0 && !isForLinks(name),
    );
    if (consumed.length === 0 || parts.clock.nowMs() >= endMs) return consumed.map(({ name }) => name);
    await pause(parts);
  }
}

/** Siblings' links consume these, and go when the SET is in the catalog no more. */
function isForLinks(queue: string): boolean {
  return queue.startsWith('federation: ');
}

function pause({ clock }: FleetParts): Promise<void> {
  return new Promise((resolve) => void clock.after(lookEveryMs, resolve));
}
