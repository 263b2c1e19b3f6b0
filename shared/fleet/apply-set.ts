/**
 * Makes a SET what the catalog wants. Every step may run twice, and the order is such that whoever dies in between leaves
 * something the next run goes on from: first who may, then what bounds, then what is there, then what must not be.
 */
import { Problem } from '../problem.ts';
import { applyFederation } from './apply-federation.ts';
import type { Management } from '../topology/management.ts';
import type { BrokerShape } from './broker-shape.ts';
import { describeChange, isLed, type Change } from './drift.ts';
import { findSet, managementOf, type FleetParts, type FoundSet } from './fleet.ts';
import { planSet, type SetPlan } from './plan-set.ts';

export interface Applied {
  readonly set: string;
  /** What was changed, in words. */
  readonly changes: readonly string[];
}

/**
 * One SET.
 * @returns what was changed; nothing when all was as it should be
 * @throws Problem `conflict` when something remains that only people can change
 */
export async function applySet(parts: FleetParts, id: string): Promise<Applied> {
  const found = await findSet(parts, id);
  const plan = await planSet(parts, found);
  await make(parts, found, plan);
  const rest = (await planSet(parts, await findSet(parts, id), 'quick')).changes;
  const blocked = rest.filter(({ op }) => op === 'blocked');
  if (blocked.length > 0)
    throw new Problem(
      'conflict',
      `SET "${id}" is not as it should be, and only you can change it:\n${blocked.map(describeChange).join('\n')}`,
    );
  return {
    set: id,
    changes: plan.changes.filter(({ op }) => op !== 'blocked').map(describeChange),
  };
}

/**
 * All SETs with a management URL, or those named: the first is the canary, and each must be well before the next one is
 * touched.
 * @throws Problem of the first SET that fails, which says what was done and what was not
 */
export async function applyAll(parts: FleetParts, ids: readonly string[]): Promise<readonly Applied[]> {
  const done: Applied[] = [];
  for (const id of ids) {
    try {
      const applied = await applySet(parts, id);
      done.push(applied);
      parts.report(
        applied.changes.length === 0
          ? `${id}: as it should be`
          : [`${id}: ${applied.changes.length} changes`, ...applied.changes.map((each) => `  ${each}`)].join(
              '\n',
            ),
      );
      await expectWell(parts, id);
    } catch (error) {
      if (!(error instanceof Problem) || ids.length === 1) throw error;
      const rest = ids.slice(ids.indexOf(id) + 1);
      const untouched = rest.length === 0 ? '' : ` Not touched: ${rest.join(', ')}.`;
      throw new Problem(error.kind, `Stopped at SET "${id}": ${error.message}${untouched}`, { cause: error });
    }
  }
  return done;
}

/** @throws Problem `broker-unavailable` naming what ails its cluster */
export async function expectWell(parts: FleetParts, id: string): Promise<void> {
  const { entry } = await findSet(parts, id);
  const ailments = await managementOf(parts, entry).ailments();
  if (ailments.length > 0)
    throw new Problem('broker-unavailable', `The RabbitMQ of SET "${id}" is not well. ${ailments.join(' ')}`);
}

/** Does what a plan says. */
export async function make(
  parts: FleetParts,
  { entry, catalog }: Pick<FoundSet, 'entry' | 'catalog'>,
  { shape, changes }: SetPlan,
): Promise<void> {
  for (const url of entry.databaseUrls) {
    const database = parts.database(url);
    if (changes.some(({ what, name }) => what === 'database' && name === database.at))
      await database.migrate();
  }
  if (changes.some(({ what }) => what === 'snapshot')) await parts.spread();
  const management = managementOf(parts, entry);
  await makeBroker(management, shape, changes);
  if (changes.some(({ what }) => what === 'federation'))
    await applyFederation(management, { catalog, set: entry.id });
}

export async function makeBroker(
  management: Management,
  shape: BrokerShape,
  changes: readonly Change[],
): Promise<void> {
  const { vhost } = shape;
  for (const change of changes) if (change.op !== 'blocked') await frame(management, shape, change);
  const wanted = changes.filter(({ op }) => op === 'add' || op === 'change');
  const lost = wanted.filter(({ what, op }) => what === 'queue' && op === 'change').map(({ name }) => name);
  // What lost its leader is gone with its bindings; somebody else may have made it anew since it was looked at.
  const led =
    lost.length === 0 ? [] : (await management.queues.list(vhost)).filter(isLed).map(({ name }) => name);
  for (const name of lost) if (!led.includes(name)) await management.queues.remove(vhost, name);
  const queues = wanted.flatMap((each) => (each.what === 'queue' ? [each.queue] : []));
  const exchanges = wanted.flatMap((each) => (each.what === 'exchange' ? [each.exchange] : []));
  const bindings = wanted.flatMap((each) =>
    each.what === 'binding' && 'exchange' in each.binding ? [each.binding] : [],
  );
  const again = shape.topology.bindings.filter(({ queue }) => lost.includes(queue));
  if (exchanges.length + queues.length + bindings.length > 0)
    await management.define(vhost, {
      exchanges,
      bindings: [...bindings, ...again],
      queues: queues.map(({ name, arguments: values }) => ({ name, arguments: values })),
    });
  for (const change of changes)
    if (change.what === 'binding' && 'source' in change.binding)
      await management.bindings.remove(vhost, change.binding);
}

/** The vhost and what holds for all of it. */
async function frame(management: Management, shape: BrokerShape, change: Change): Promise<void> {
  const { vhost, user, limits, description = '' } = shape;
  switch (change.what) {
    case 'vhost':
      return management.vhosts.put(vhost, description);
    case 'user':
      return user && management.users.put(user.name, user.password);
    case 'permissions':
      return user && management.users.permit(vhost, user.name, user.permissions);
    case 'limits':
      return management.vhosts.limit(vhost, limits ?? {});
    case 'policy':
      return management.policies.put(vhost, change.policy);
    case 'operator policy':
      return management.operatorPolicies.put(vhost, change.policy);
    case 'exchange':
    case 'queue':
    case 'binding':
    case 'database':
    case 'snapshot':
    case 'federation':
      return undefined;
  }
}
