/**
 * What crosses from SET to SET by federation. A topic that replicates: what is published to it in one SET reaches the others'
 * exchanges as copies. The SET where a message was published delivers it; the others keep its copy, or drop it. Whoever
 * wants the SET of a key to deliver has the topic routed by key: then it is the one where it is published. And queues of
 * native consumers that lend each other messages.
 */
import type { Fault } from '../problem.ts';
import type { SetDefinition } from '../sets/set.ts';

/** Who takes part. */
export interface Federated {
  /** SETs by id; absent: all of them. */
  readonly between?: readonly string[] | undefined;
}

export interface Replication extends Federated {
  /** What the SETs do with copies that their webhooks and pullers would get. */
  readonly others: 'hold' | 'drop';
  /** How long a held copy is kept, in milliseconds. */
  readonly keepForMs: number;
}

type Scope = 'anywhere' | 'center';
type Member = Pick<SetDefinition, 'id' | 'kind'>;

/**
 * The SETs that take part; none when there are not two. A draining or fenced SET stays: what its links have not carried yet
 * would be lost with them.
 * @param scope of the topic: what belongs to the center never leaves it
 */
export function federatedSets(
  federated: Federated | undefined,
  scope: Scope,
  sets: readonly Member[],
): readonly string[] {
  if (!federated) return [];
  const named = federated.between && new Set(federated.between);
  const members = sets.filter(
    ({ id, kind }) => (!named || named.has(id)) && (scope === 'anywhere' || kind === 'center'),
  );
  return members.length < 2 ? [] : members.map(({ id }) => id);
}

/** What is wrong with it, given the SETs there are; each place begins at `/between`. */
export function federationFaults(
  federated: Federated | undefined,
  scope: Scope,
  sets: readonly Member[],
): readonly Fault[] {
  if (!federated) return [];
  const { between } = federated;
  const known = new Map(sets.map((set) => [set.id, set]));
  const unknown = (between ?? []).flatMap((id, index) =>
    known.has(id) ? [] : [{ at: `/between/${index}`, detail: `There is no SET "${id}".` }],
  );
  const members = between?.flatMap((id) => known.get(id) ?? []) ?? sets;
  const unit = members.find(({ kind }) => kind === 'unit');
  if (scope === 'anywhere' || !unit) return unknown;
  const detail = `A topic of scope "center" never leaves the center, and "${unit.id}" is a unit. Name center SETs only.`;
  return [...unknown, { at: '/between', detail }];
}
