/**
 * Takes a SET away, if nothing is lost with it:
 *
 *   1. refused while it takes messages, while keys or buckets are its own, while anything is left in it
 *   2. on demand, what waits in its queues is shovelled to a sibling, whose hosts deliver it under the same ids
 *   3. fenced: its hosts stop, and when nobody consumes any more it is looked at again: what they had in hand is ready now
 *   4. federation is unpicked; vhost and user go if Setway made them, else its own exchanges and queues
 *   5. the entry leaves the catalog; its number stays taken, since ids carry it
 *
 * Databases stay: they hold the history. Whoever dies in between runs it again: what is gone already is fine.
 */
import type { CatalogDocument, SetEntry } from '../catalog/document.ts';
import { Problem } from '../problem.ts';
import { removeFederation } from './apply-federation.ts';
import type { Management } from '../topology/management.ts';
import { loginOf } from './broker-url.ts';
import { moveSet, setEdit } from './change-set.ts';
import { findSet, managementOf, type FleetParts, type FoundSet } from './fleet.ts';
import { awaitNoConsumers, lookLeft } from './look-left.ts';
import { shovelQueues } from './shovel.ts';

export interface Retirement {
  readonly id: string;
  /** Sibling that gets what waits in the queues. */
  readonly shovelTo?: string | undefined;
}

/** @throws Problem `conflict` that lists what would be lost; then nothing has changed but what was shovelled */
export async function retireSet(parts: FleetParts, { id, shovelTo }: Retirement): Promise<void> {
  const found = await findSet(parts, id);
  const { entry, document } = found;
  refuseInUse(document, entry);
  const management = managementOf(parts, entry);
  const before = await lookLeft(parts, management, found);
  if (before.queues.size > 0 && before.isStoreEmpty && shovelTo !== undefined) {
    const to = await findSet(parts, shovelTo);
    if (to.entry.id === id) throw new Problem('invalid-request', 'A SET cannot be shovelled to itself.');
    await shovelQueues(parts, { management, from: entry, to: to.entry, queues: [...before.queues.keys()] });
  } else refuseLeft(id, before.lines);
  await moveSet(parts, id, 'fenced');
  const consumed = await awaitNoConsumers(parts, management, entry);
  const after = await lookLeft(parts, management, found);
  const lines = [
    ...consumed.map((queue) => `somebody consumes the queue ${queue}: end that first`),
    ...after.lines,
  ];
  if (lines.length > 0) {
    await moveSet(parts, id, 'draining');
    refuseLeft(id, lines);
  }
  await unpick(parts, management, entry);
  await takeDown(management, entry);
  parts.report(`${id}: nothing left, its RabbitMQ is taken down`);
  await removeEntry(parts, found);
  await parts.spread();
}

/** @throws Problem `conflict` */
function refuseInUse(
  { buckets, pins, moves = [], ...named }: CatalogDocument,
  { id, status }: SetEntry,
): void {
  if (status === 'active')
    throw new Problem('conflict', `SET "${id}" takes messages. First: setway sets drain ${id}.`);
  const owned = buckets.filter(({ set }) => set === id);
  if (owned.length > 0)
    throw new Problem(
      'conflict',
      `SET "${id}" owns keys (${owned.map(({ from, to }) => `buckets ${from}–${to}`).join(', ')}). Move them first: setway routes move.`,
    );
  if (moves.some(({ source, target }) => source === id || target === id))
    throw new Problem(
      'conflict',
      `Buckets are on their way from or to SET "${id}". Wait: setway routes show.`,
    );
  const pinned = pins.filter(({ set }) => set === id);
  if (pinned.length > 0)
    throw new Problem(
      'conflict',
      `${pinned.length} keys are pinned to SET "${id}" (${pinned
        .slice(0, 3)
        .map(({ key }) => `"${key}"`)
        .join(', ')}). Take the pins away first: setway routes unpin.`,
    );
  refuseFederated(named, id);
}

/** Topics and subscriptions that are federated between all SETs go on without it. */
function refuseFederated(
  { topics, subscriptions }: Pick<CatalogDocument, 'topics' | 'subscriptions'>,
  id: string,
): void {
  const naming = [
    ...topics.filter(({ replicate }) => replicate?.between?.includes(id)),
    ...subscriptions.filter(({ federate }) => federate?.between?.includes(id)),
  ];
  if (naming.length > 0)
    throw new Problem(
      'conflict',
      `${naming.map(({ name }) => `"${name}"`).join(', ')} is federated with SET "${id}". Take it out of "between" first.`,
    );
}

function refuseLeft(id: string, lines: readonly string[]): void {
  if (lines.length === 0) return;
  throw new Problem(
    'conflict',
    `SET "${id}" still holds what would be lost with it:\n${lines.map((line) => `  ${line}`).join('\n')}\nWait until it is delivered, or hand queues to a sibling: --shovel-to ID.`,
  );
}

/** RabbitMQ deletes the queues in which siblings keep what waits for this SET only when its policies go before its vhost. */
async function unpick(
  { clock }: FleetParts,
  management: Management,
  { brokerUrls }: SetEntry,
): Promise<void> {
  const { vhost } = loginOf(brokerUrls[0] ?? '');
  if (!(await management.vhosts.find(vhost))) return;
  await removeFederation(management, vhost);
  const endMs = clock.nowMs() + unpickedWithinMs;
  // Without the plugin there are no links.
  const links = () => management.links.federation(vhost).catch(() => []);
  while ((await links()).length > 0 && clock.nowMs() < endMs)
    await new Promise<void>((resolve) => void clock.after(lookEveryMs, resolve));
}

/** A link that does not reach its upstream cannot tidy up there: the queue there expires by itself. */
const unpickedWithinMs = 5_000;
const lookEveryMs = 200;

async function takeDown(management: Management, entry: SetEntry): Promise<void> {
  const { vhost, user } = loginOf(entry.brokerUrls[0] ?? '');
  if (entry.access === 'managed') {
    await management.vhosts.remove(vhost);
    await management.users.remove(user);
    return;
  }
  if (!(await management.vhosts.find(vhost))) return;
  const isOurs = ({ name }: { readonly name: string }): boolean => name.startsWith('setway');
  for (const { name } of (await management.policies.list(vhost)).filter(isOurs))
    await management.policies.remove(vhost, name);
  for (const { name } of (await management.operatorPolicies.list(vhost)).filter(isOurs))
    await management.operatorPolicies.remove(vhost, name);
  for (const { name } of (await management.queues.list(vhost)).filter(isOurs))
    await management.queues.remove(vhost, name);
  for (const { name } of (await management.exchanges.list(vhost)).filter(isOurs))
    await management.exchanges.remove(vhost, name);
}

async function removeEntry({ writer }: FleetParts, { entry: { id } }: FoundSet): Promise<void> {
  await writer.write((document) => {
    const kept = document.sets.find((each) => each.id === id);
    if (!kept) return 'as it should be';
    refuseInUse(document, kept);
    const name = String(kept.number);
    const known = document.setNumbers?.find((each) => each.name === name) ?? null;
    return {
      expected: [setEdit(id, kept), { list: 'setNumbers', name, entry: known }],
      edits: [setEdit(id, null), { list: 'setNumbers', name, entry: known ?? ({ name, set: id } as const) }],
    };
  });
}
