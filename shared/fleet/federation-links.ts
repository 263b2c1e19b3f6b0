/** How the federation of a SET is: the links that bring it something, and what waits here for others. */
import type { FederationView, Lag, UpstreamLinks } from '../sets/federation-view.ts';
import { vhostIn, type SetIdentity } from './apply-federation.ts';
import { planFederation, upstreamSetOf, type FederationSource } from './federation.ts';
import type { FederationLink, FoundQueue, Management } from '../topology/management.ts';

export interface FederationLook {
  readonly catalog: FederationSource;
  readonly set: string;
  /** Of the SETs that may wait for something here, those that are known. */
  readonly identities: ReadonlyMap<string, SetIdentity>;
}

/** @throws Problem `broker-unavailable`, `invalid-settings` */
export async function readFederationView(
  { links, queues }: Pick<Management, 'links' | 'queues'>,
  { catalog, set, identities }: FederationLook,
): Promise<FederationView> {
  const wanted = planFederation(catalog, set).upstreams.flatMap(({ name }) => upstreamSetOf(name) ?? []);
  if (wanted.length === 0) return { links: [], lags: [] };
  const vhost = vhostIn(catalog, set);
  const [found, waiting] = await Promise.all([links.federation(vhost), queues.list(vhost)]);
  return {
    links: wanted.map((upstream) => linksFrom(upstream, found)),
    lags: lagsIn(waiting, new Map([...identities].filter(([id]) => wanted.includes(id)))),
  };
}

function linksFrom(upstream: string, found: readonly FederationLink[]): UpstreamLinks {
  const own = found.filter((link) => upstreamSetOf(link.upstream) === upstream);
  const broken = own.find(({ status }) => status !== 'running');
  if (own.length > 0 && !broken) return { upstream, state: 'up' };
  return { upstream, state: 'down', error: broken ? (broken.error ?? broken.status) : 'There is no link.' };
}

/** RabbitMQ names the queue of what waits `federation: <exchange> -> <cluster>:<vhost>:<exchange>`. */
function lagsIn(queues: readonly FoundQueue[], identities: ReadonlyMap<string, SetIdentity>): readonly Lag[] {
  const waiting = queues.filter(({ name }) => name.startsWith('federation: setway.'));
  return [...identities].map(([downstream, identity]) => ({
    downstream,
    messages: waiting
      .filter(({ name }) => name.includes(` -> ${identity}:setway.`))
      .reduce((sum, { messages }) => sum + messages, 0),
  }));
}
