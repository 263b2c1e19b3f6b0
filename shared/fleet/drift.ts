/**
 * What would change: the RabbitMQ that was found against the one that should be. Pure.
 *
 * What Setway does not own is nobody's drift: other exchanges and queues in the vhost, queues of native consumers bound to
 * a topic's exchange, policies under other names. Queues of subscriptions that are gone belong to the hosts, which take
 * them down when they are empty (shared/host/topology-keeper.ts).
 */
import type {
  FoundBinding,
  FoundExchange,
  FoundNode,
  FoundQueue,
  Permissions,
  Policy,
  VhostLimits,
} from '../topology/management.ts';
import type { BindingPlan, ExchangePlan, QueuePlan } from '../topology/plan.ts';
import type { BrokerShape } from './broker-shape.ts';

export interface FoundBroker {
  /** The vhost is there; without it there is nothing in it. */
  readonly isThere: boolean;
  /** Absent: not asked for, since the user was given. */
  readonly user?: { readonly isThere: boolean; readonly isPasswordWrong: boolean };
  readonly permissions?: Permissions | undefined;
  readonly limits: VhostLimits;
  readonly policies: readonly Policy[];
  readonly operatorPolicies: readonly Policy[];
  readonly exchanges: readonly FoundExchange[];
  readonly queues: readonly FoundQueue[];
  readonly bindings: readonly FoundBinding[];
  readonly nodes: readonly FoundNode[];
  /** `young`: a queue without statistics may be too new to have them; else it has none because nobody leads it. */
  readonly statistics: 'young' | 'settled';
}

/** `blocked`: nothing here may change it; the detail says who can. */
type Op = 'add' | 'change' | 'remove' | 'blocked';

interface Told {
  readonly op: Op;
  readonly name: string;
  /** What was, and what will be; or why nothing can be done. */
  readonly detail?: string;
}

export type Change = Told &
  (
    | {
        readonly what: 'vhost' | 'user' | 'permissions' | 'limits' | 'database' | 'snapshot' | 'federation';
      }
    | { readonly what: 'policy' | 'operator policy'; readonly policy: Policy }
    | { readonly what: 'exchange'; readonly exchange: ExchangePlan }
    | { readonly what: 'queue'; readonly queue: QueuePlan }
    | { readonly what: 'binding'; readonly binding: BindingPlan | FoundBinding }
  );

const signs: Readonly<Record<Op, string>> = { add: '+', change: '~', remove: '-', blocked: '!' };

/** @example describeChange(change) // '~ policy setway-queues: delivery-limit 5 → 100' */
export function describeChange({ op, what, name, detail }: Change): string {
  return `${signs[op]} ${what} ${name}${detail === undefined ? '' : `: ${detail}`}`;
}

/** @example driftOf(shape, found).length === 0 // as it should be */
export function driftOf(shape: BrokerShape, found: FoundBroker): readonly Change[] {
  return [
    ...vhostDrift(shape, found),
    ...userDrift(shape, found),
    ...limitDrift(shape, found),
    ...policyDrift('policy', shape.policies, found.policies),
    ...policyDrift('operator policy', shape.operatorPolicies, found.operatorPolicies),
    ...exchangeDrift(shape, found),
    ...queueDrift(shape, found),
    ...bindingDrift(shape, found),
  ];
}

function vhostDrift({ vhost, description }: BrokerShape, { isThere }: FoundBroker): readonly Change[] {
  if (isThere) return [];
  if (description !== undefined) return [{ what: 'vhost', op: 'add', name: vhost }];
  const detail = 'It was given to Setway and is gone: make it again.';
  return [{ what: 'vhost', op: 'blocked', name: vhost, detail }];
}

function userDrift({ user }: BrokerShape, found: FoundBroker): readonly Change[] {
  if (!user) return [];
  const { name } = user;
  const changes: Change[] = [];
  if (found.user?.isThere !== true) changes.push({ what: 'user', op: 'add', name });
  else if (found.user.isPasswordWrong)
    changes.push({ what: 'user', op: 'change', name, detail: 'another password than the one kept' });
  if (!found.permissions)
    changes.push({ what: 'permissions', op: 'add', name, detail: shown(user.permissions) });
  else if (shown(found.permissions) !== shown(user.permissions))
    changes.push({
      what: 'permissions',
      op: 'change',
      name,
      detail: difference(found.permissions, user.permissions),
    });
  return changes;
}

function limitDrift({ vhost, limits }: BrokerShape, found: FoundBroker): readonly Change[] {
  if (!limits || sorted(limits) === sorted(found.limits)) return [];
  return [{ what: 'limits', op: 'change', name: vhost, detail: difference(found.limits, limits) }];
}

function policyDrift(
  what: 'policy' | 'operator policy',
  wanted: readonly Policy[],
  found: readonly Policy[],
): readonly Change[] {
  return wanted.flatMap((policy): readonly Change[] => {
    const { name } = policy;
    const there = found.find((each) => each.name === name);
    if (!there) return [{ what, op: 'add', name, policy, detail: shown(policy.definition) }];
    const [was, is] = [flat(there), flat(policy)];
    return sorted(was) === sorted(is)
      ? []
      : [{ what, op: 'change', name, policy, detail: difference(was, is) }];
  });
}

function flat({ pattern, applyTo, priority, definition }: Policy): object {
  return { pattern, 'apply-to': applyTo, priority, ...definition };
}

function exchangeDrift({ topology }: BrokerShape, { exchanges }: FoundBroker): readonly Change[] {
  const types = new Map(exchanges.map(({ name, type }) => [name, type]));
  return topology.exchanges.flatMap((exchange): readonly Change[] => {
    const { name, type } = exchange;
    const there = types.get(name);
    if (there === undefined) return [{ what: 'exchange', op: 'add', name, exchange, detail: type }];
    if (there === type) return [];
    const detail = `it is of type ${there} and should be ${type}, which RabbitMQ never changes. Delete it; then it is made anew.`;
    return [{ what: 'exchange', op: 'blocked', name, exchange, detail }];
  });
}

function queueDrift(
  { topology }: BrokerShape,
  { queues, nodes, statistics }: FoundBroker,
): readonly Change[] {
  const found = new Map(queues.map((queue) => [queue.name, queue]));
  return topology.queues.flatMap((queue): readonly Change[] => {
    const { name } = queue;
    const there = found.get(name);
    if (!there) return [{ what: 'queue', op: 'add', name, queue }];
    if (sorted(there.arguments) !== sorted(queue.arguments)) {
      const detail = `${difference(there.arguments, queue.arguments)}, which RabbitMQ never changes. Delete it when it is empty; then it is made anew.`;
      return [{ what: 'queue', op: 'blocked', name, queue, detail }];
    }
    if (isLed(there) || (there.state === undefined && statistics === 'young')) return [];
    return [{ what: 'queue', name, queue, ...leaderless(nodes) }];
  });
}

/**
 * Without a leader a quorum queue takes and gives nothing. 3.10 goes on naming the last leader, and a passive declaration
 * finds such a queue, empty: what tells it is that it has no statistics, which a living one renews every 5 s. `minority`
 * may be over when its nodes are back.
 */
export function isLed({ leader, state = 'down' }: FoundQueue): boolean {
  return leader !== undefined && !['down', 'crashed', 'stopped', 'minority'].includes(state);
}

/** While nodes are missing, their part of the queue may come back with them; with all there, nothing will. */
function leaderless(nodes: readonly FoundNode[]): Pick<Told, 'op' | 'detail'> {
  const isWhole = nodes.every(({ isRunning, partitions }) => isRunning && partitions.length === 0);
  if (isWhole)
    return {
      op: 'change',
      detail: 'nobody leads it although every node is there: RabbitMQ has lost it, it is made anew',
    };
  return { op: 'blocked', detail: 'nobody leads it while nodes are away. Bring them back.' };
}

function bindingDrift({ topology }: BrokerShape, { bindings }: FoundBroker): readonly Change[] {
  const named = (exchange: string, queue: string, key: string): string =>
    JSON.stringify([exchange, queue, key]);
  const wanted = new Set(topology.bindings.map((each) => named(each.exchange, each.queue, each.bindingKey)));
  const ofQueues = bindings.filter(
    ({ destinationType, source }) => destinationType === 'queue' && source !== '',
  );
  const plain = ofQueues.filter((each) => Object.keys(each.arguments).length === 0);
  const there = new Set(plain.map((each) => named(each.source, each.destination, each.bindingKey)));
  const ours = new Set(topology.queues.map(({ name }) => name));
  const missing = topology.bindings.filter(
    (each) => !there.has(named(each.exchange, each.queue, each.bindingKey)),
  );
  const surplus = ofQueues.filter(
    (each) =>
      ours.has(each.destination) && !wanted.has(named(each.source, each.destination, each.bindingKey)),
  );
  return [
    ...missing.map(
      (binding) =>
        ({
          what: 'binding',
          op: 'add',
          name: `${binding.exchange} → ${binding.queue}`,
          detail: `"${binding.bindingKey}"`,
          binding,
        }) as const,
    ),
    ...surplus.map(
      (binding) =>
        ({
          what: 'binding',
          op: 'remove',
          name: `${binding.source} → ${binding.destination}`,
          detail: `"${binding.bindingKey}"`,
          binding,
        }) as const,
    ),
  ];
}

function shown(value: object): string {
  return Object.entries(value)
    .map(([name, each]) => `${name} ${said(each)}`)
    .join(', ');
}

/** Only what differs: `max-length 5 → 10`. */
function difference(was: object, is: object): string {
  const [before, after] = [fields(was), fields(is)];
  return [...new Set([...Object.keys(before), ...Object.keys(after)])]
    .filter((name) => said(before[name]) !== said(after[name]))
    .map((name) => `${name} ${said(before[name])} → ${said(after[name])}`)
    .join(', ');
}

function fields(value: object): Readonly<Record<string, unknown>> {
  return value as Readonly<Record<string, unknown>>;
}

function said(value: unknown): string {
  if (value === undefined) return 'none';
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function sorted(value: object): string {
  return JSON.stringify(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}
