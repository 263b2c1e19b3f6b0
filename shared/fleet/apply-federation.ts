/**
 * Makes the federation of a SET's RabbitMQ what the catalog wants. Safe to repeat and to run twice at once: each step says
 * how something is, not how it changes. A link whose upstream or policy stays as it is goes on undisturbed.
 */
import { asProblem, Problem } from '../problem.ts';
import {
  federationSteps,
  planFederation,
  vhostOf,
  type Federation,
  type FederationSource,
  type FederationStep,
} from './federation.ts';
import type { Management } from '../topology/management.ts';

export type FederationManagement = Pick<Management, 'parameters' | 'policies'>;

async function readFederation(
  { parameters, policies }: FederationManagement,
  vhost: string,
): Promise<Federation> {
  const [upstreams, upstreamSets, found] = await Promise.all([
    parameters.list('federation-upstream', vhost),
    parameters.list('federation-upstream-set', vhost),
    policies.list(vhost),
  ]);
  return { upstreams, upstreamSets, policies: found };
}

export interface FederationOfSet {
  readonly catalog: FederationSource;
  readonly set: string;
}

/**
 * What would change in the SET's vhost.
 * @throws Problem `broker-unavailable`, `invalid-settings` as the management client does
 */
export async function missingFederation(
  management: FederationManagement,
  { catalog, set }: FederationOfSet,
): Promise<readonly FederationStep[]> {
  const found = await readFederation(management, vhostIn(catalog, set));
  return federationSteps(planFederation(catalog, set), found);
}

/**
 * Does what `missingFederation` tells. Give SETs that may share a broker one after the other: of two changes at once in one
 * node, even in different vhosts, RabbitMQ 3.10 answers one with 500 after it was made (`rabbit_federation_link_sup`:
 * `{error,not_found}`), so what failed is looked at again.
 * @returns what was done
 */
export async function applyFederation(
  management: FederationManagement,
  of: FederationOfSet,
): Promise<readonly FederationStep[]> {
  const vhost = vhostIn(of.catalog, of.set);
  const done: FederationStep[] = [];
  for (let round = 1; ; round++) {
    try {
      for (const step of await missingFederation(management, of)) {
        done.push(step);
        await take(management, vhost, step);
      }
      return done;
    } catch (error) {
      if (round === maxRounds || asProblem(error).kind !== 'broker-unavailable') throw error;
    }
  }
}

const maxRounds = 3;

/** Takes everything of ours out of a vhost: for a SET that goes. @returns what was done */
export async function removeFederation(
  management: FederationManagement,
  vhost: string,
): Promise<readonly FederationStep[]> {
  const nothing: Federation = { upstreams: [], upstreamSets: [], policies: [] };
  const steps = federationSteps(nothing, await readFederation(management, vhost));
  for (const step of steps) await take(management, vhost, step);
  return steps;
}

const components = { upstream: 'federation-upstream', 'upstream set': 'federation-upstream-set' } as const;

async function take(
  { parameters, policies }: FederationManagement,
  vhost: string,
  step: FederationStep,
): Promise<void> {
  if (step.do === 'put')
    return step.kind === 'policy'
      ? policies.put(vhost, step.entry)
      : parameters.put(components[step.kind], vhost, step.entry);
  return step.kind === 'policy'
    ? policies.remove(vhost, step.name)
    : parameters.remove(components[step.kind], vhost, step.name);
}

/** @throws Problem `not-found` */
export function vhostIn({ access }: Pick<FederationSource, 'access'>, set: string): string {
  const [url] = access.get(set)?.brokerUrls ?? [];
  if (url === undefined) throw new Problem('not-found', `There is no SET "${set}".`);
  return vhostOf(url);
}

/** How federation tells SETs apart. */
export type SetIdentity = `${string}:${string}`;

export async function identityOf(
  management: Pick<Management, 'overview'>,
  vhost: string,
): Promise<SetIdentity> {
  return `${(await management.overview()).clusterName}:${vhost}`;
}

/** @throws Problem `conflict` when two SETs would share what waits for one of them */
export function refuseTwins(identities: ReadonlyMap<string, SetIdentity>): void {
  const first = new Map<SetIdentity, string>();
  for (const [set, identity] of identities) {
    const twin = first.get(identity);
    if (twin !== undefined)
      throw new Problem(
        'conflict',
        `The SETs "${twin}" and "${set}" have the same cluster name and vhost (${identity}): each would get half of the copies. Give one of them another vhost, or its cluster another name: rabbitmqctl set_cluster_name.`,
      );
    first.set(identity, set);
  }
}
