/**
 * Which federation one SET's RabbitMQ should have, as data. Upstreams stand in the vhost where copies arrive:
 *
 *   upstream      `setway-from-<SET>`        how to reach the SET, and that what came from a third one is not passed on
 *   upstream set  `setway-topic-<topic>`, `setway-queue-<subscription>`    the SETs it is federated with
 *   policy        the same name: puts the set on the topic's two exchanges, or on the subscription's queues
 *
 * All SETs of a topic are each other's upstream, so `max-hops` 1 brings everything everywhere once and nothing back. What
 * waits for a SET stands in the upstream, in a queue `federation: <exchange> -> <cluster>:<vhost>:<exchange>` that RabbitMQ
 * makes and, when the policy goes, deletes. Two SETs of equal cluster name and vhost would share one such queue, and each
 * get half: apply-federation.ts refuses them.
 *
 * Sources: https://www.rabbitmq.com/docs/federated-exchanges, /federated-queues, /federation-reference
 */
import type { Catalog } from '../catalog/catalog.ts';
import { federatedSets } from '../subscriptions/replication.ts';
import type { Parameter, Policy } from '../topology/management.ts';
import { exchangeOf, queueOf } from '../topology/names.ts';

export interface Federation {
  readonly upstreams: readonly Parameter[];
  readonly upstreamSets: readonly Parameter[];
  readonly policies: readonly Policy[];
}

/** Everything of these names is ours, and nothing else is. */
const ownNames = {
  upstream: /^setway-from-/,
  upstreamSet: /^setway-(topic|queue)-/,
  policy: /^setway-(topic|queue)-/,
};

/**
 * An upstream's queue whose SET has been away for so long goes, with what waits in it: else its disk would fill up. A held
 * copy is kept for a day by default.
 */
const expiresMs = 86_400_000;
/** Above policies for all exchanges or all queues, since one policy alone holds. */
const priority = 10;

export type FederationSource = Pick<Catalog, 'topics' | 'subscriptions' | 'sets' | 'access'>;

/** @example planFederation(await catalog.current(), 'hangzhou').policies */
export function planFederation(catalog: FederationSource, set: string): Federation {
  const sets = [...catalog.sets.values()];
  const topics = [...catalog.topics.values()].flatMap((topic) => {
    const siblings = siblingsOf(set, federatedSets(topic.replicate, topic.scope, sets));
    const pattern = `^(${escaped(exchangeOf(topic.name))}|${escaped(exchangeOf(topic.name, 'high'))})$`;
    const name = `setway-topic-${topic.name}`;
    return siblings.length === 0 ? [] : [{ name, pattern, applyTo: 'exchanges', siblings } as const];
  });
  const queues = [...catalog.subscriptions.values()].flatMap((subscription) => {
    const scope = catalog.topics.get(subscription.topic)?.scope ?? 'anywhere';
    const siblings = siblingsOf(set, federatedSets(subscription.federate, scope, sets));
    const pattern = `^(${escaped(queueOf(subscription))}|${escaped(queueOf(subscription, 'high'))})$`;
    const name = `setway-queue-${subscription.name}`;
    return siblings.length === 0 ? [] : [{ name, pattern, applyTo: 'queues', siblings } as const];
  });
  const wanted = [...topics, ...queues];
  const upstreams = new Set(wanted.flatMap(({ siblings }) => siblings));
  return {
    upstreams: [...upstreams].map((id) => upstreamOf(id, catalog.access.get(id)?.brokerUrls ?? [])),
    upstreamSets: wanted.map(({ name, siblings }) => ({
      name,
      value: siblings.map((id) => ({ upstream: upstreamName(id) })),
    })),
    policies: wanted.map(({ name, pattern, applyTo }) => ({
      name,
      pattern,
      applyTo,
      priority,
      definition: { 'federation-upstream-set': name },
    })),
  };
}

function siblingsOf(set: string, members: readonly string[]): readonly string[] {
  return members.includes(set) ? members.filter((id) => id !== set) : [];
}

function upstreamName(set: string): string {
  return `setway-from-${set}`;
}

/** @returns undefined for an upstream that is not ours */
export function upstreamSetOf(upstream: string): string | undefined {
  return ownNames.upstream.test(upstream) ? upstream.replace(ownNames.upstream, '') : undefined;
}

function upstreamOf(set: string, brokerUrls: readonly string[]): Parameter {
  const rules = {
    'ack-mode': 'on-confirm',
    'max-hops': 1,
    'reconnect-delay': 5,
    expires: expiresMs,
  } as const;
  return { name: upstreamName(set), value: { uri: brokerUrls.map(linkUri), ...rules } };
}

/** RabbitMQ reads `amqp://host/` as a vhost without a name, amqplib as `/`; what only amqplib knows is left out. */
export function linkUri(brokerUrl: string): string {
  const url = new URL(brokerUrl);
  url.pathname = `/${encodeURIComponent(vhostOf(brokerUrl))}`;
  url.searchParams.delete('frameMax');
  return url.href;
}

/** The vhost a broker URL names. */
export function vhostOf(brokerUrl: string): string {
  return decodeURIComponent(new URL(brokerUrl).pathname.slice(1)) || '/';
}

function escaped(name: string): string {
  return name.replaceAll('.', String.raw`\.`);
}

/** One thing to do in a vhost. Its `what` names no credential. */
export type FederationStep =
  | { readonly do: 'put'; readonly kind: ParameterKind; readonly what: string; readonly entry: Parameter }
  | { readonly do: 'put'; readonly kind: 'policy'; readonly what: string; readonly entry: Policy }
  | { readonly do: 'remove'; readonly kind: FederationKind; readonly what: string; readonly name: string };

type ParameterKind = 'upstream' | 'upstream set';
export type FederationKind = ParameterKind | 'policy';

/**
 * What makes `found` what is `wanted`, in an order in which nothing names what is not there. What is not ours by name is
 * left alone. Empty when all is as it should be.
 */
export function federationSteps(wanted: Federation, found: Federation): readonly FederationStep[] {
  const own = {
    upstreams: found.upstreams.filter(({ name }) => ownNames.upstream.test(name)),
    upstreamSets: found.upstreamSets.filter(({ name }) => ownNames.upstreamSet.test(name)),
    policies: found.policies.filter(({ name }) => ownNames.policy.test(name)),
  };
  const put = <T extends Parameter | Policy>(all: readonly T[], there: readonly T[]): readonly T[] =>
    all.filter((entry) => !there.some((each) => canonical(each) === canonical(entry)));
  const gone = (all: readonly { name: string }[], there: readonly { name: string }[]): readonly string[] =>
    there.flatMap(({ name }) => (all.some((each) => each.name === name) ? [] : [name]));
  const remove = (kind: FederationKind, names: readonly string[]): readonly FederationStep[] =>
    names.map((name) => ({ do: 'remove', kind, name, what: `delete the ${kind} ${name}` }));
  return [
    ...putSteps('upstream', put(wanted.upstreams, own.upstreams)),
    ...putSteps('upstream set', put(wanted.upstreamSets, own.upstreamSets)),
    ...put(wanted.policies, own.policies).map(
      (entry) => ({ do: 'put', kind: 'policy', entry, what: `set the policy ${entry.name}` }) as const,
    ),
    ...remove('policy', gone(wanted.policies, own.policies)),
    ...remove('upstream set', gone(wanted.upstreamSets, own.upstreamSets)),
    ...remove('upstream', gone(wanted.upstreams, own.upstreams)),
  ];
}

function putSteps(kind: ParameterKind, entries: readonly Parameter[]): readonly FederationStep[] {
  return entries.map((entry) => ({ do: 'put', kind, entry, what: `set the ${kind} ${entry.name}` }));
}

/** JSON with sorted names: RabbitMQ answers them in an order of its own. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const sorted = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return `{${sorted.map(([name, field]) => `${JSON.stringify(name)}:${canonical(field)}`).join(',')}}`;
}
