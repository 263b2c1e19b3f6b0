/**
 * Makes RabbitMQ what the catalog wants, and takes down what it wants no longer, without losing a message:
 *
 *   1. what is about to be declared is noted in the SET's register: whoever dies in between, the next host knows of it
 *   2. exchanges, queues, bindings are declared; new bindings stand before old ones fall, so a message in between comes
 *      twice to that subscription, under one id, rather than not at all
 *   3. bindings nobody wants fall
 *   4. a queue nobody wants any more, unbound by then, goes at a later turn:
 *        its subscription lives, with another queue   what it holds is moved there, then it is deleted
 *        its subscription is gone, discarded          it is deleted with what it holds
 *        its subscription is gone                     it is deleted when it is empty and nobody consumes it; what it
 *                                                     holds waits for a subscription of that name, or for a discard
 *   5. an exchange of another type is replaced if nothing is bound to it (a topic with subscriptions keeps its type)
 *
 * Exchanges of deleted topics stay: what was published to them for later ends UNROUTABLE, which is seen. What a newer
 * version of the catalog has noted is left alone by a host that knows an older one.
 */
import type { Broker } from '../broker/broker.ts';
import type { Catalog } from '../catalog/catalog.ts';
import { asProblem, type Problem } from '../problem.ts';
import { queueOf } from '../topology/names.ts';
import { declaredBy, planTopology, type Declared, type Topology } from '../topology/plan.ts';
import type { Register } from './register.ts';

type DeclaredQueue = Extract<Declared, { kind: 'queue' }>;

export interface TopologyKeeper {
  /** Whether this host has declared the SET's topology. */
  readonly isDeclared: boolean;
  /** One turn. @throws Problem when the broker or the register fails: the next turn goes on */
  follow(catalog: Catalog): Promise<void>;
}

/** Messages moved in one turn, which other changes wait for. */
const movedPerTurn = 5_000;
/** Queues looked at in one turn. */
const retiredPerTurn = 50;

export interface TopologyKeeperParts {
  readonly broker: Broker;
  readonly register: Register;
}

export function createTopologyKeeper({ broker, register }: TopologyKeeperParts): TopologyKeeper {
  let followed = -1;
  let isDeclared = false;
  /** Queues that wait for their end. */
  let retired: readonly DeclaredQueue[] = [];

  const declare = async (catalog: Catalog): Promise<void> => {
    const plan = planTopology([...catalog.topics.values()], [...catalog.subscriptions.values()]);
    const wanted = declaredBy(plan, catalog.version);
    const noted = await register.note(wanted);
    const replaced = otherTypes(plan, noted);
    const refusal = await provision(broker, plan, replaced);
    isDeclared = true;
    if (replaced.length > 0 && !refusal) {
      await register.forget(replaced);
      await register.note(wanted);
    }
    const names = new Set(wanted.map(({ kind, name }) => `${kind} ${name}`));
    const surplus = noted.filter(
      ({ kind, name, version }) => version < catalog.version && !names.has(`${kind} ${name}`),
    );
    const bindings = surplus.filter((each) => each.kind === 'binding');
    await broker.takeDown.unbind(bindings);
    if (bindings.length > 0) await register.forget(bindings);
    retired = surplus.filter((each) => each.kind === 'queue');
    // Tried again at the next turn; the rest works without what was refused.
    if (refusal) throw refusal;
    followed = catalog.version;
  };

  const retire = async (catalog: Catalog): Promise<void> => {
    const turn = retired.slice(0, retiredPerTurn);
    const gone = new Set<DeclaredQueue>();
    for (const queue of turn) if (await end(broker, catalog, queue)) gone.add(queue);
    if (gone.size > 0) await register.forget([...gone]);
    const kept = turn.filter((queue) => !gone.has(queue));
    retired = [...retired.slice(retiredPerTurn), ...kept];
  };

  const turnTo = async (catalog: Catalog): Promise<void> => {
    if (broker.state === 'disconnected' || catalog.version < followed) return;
    if (followed !== catalog.version) await declare(catalog);
    else if (retired.length > 0) await retire(catalog);
  };
  /** One after the other: an older version must not declare what a newer one just took down. */
  let last: Promise<void> = Promise.resolve();

  return {
    get isDeclared() {
      return isDeclared;
    },
    follow(catalog) {
      const turn = last.then(() => turnTo(catalog));
      last = turn.catch(() => undefined);
      return turn;
    },
  };
}

/** @returns whether the queue is no more */
async function end(
  { takeDown }: Broker,
  { subscriptions, discarded }: Catalog,
  { name, subscription, priority }: DeclaredQueue,
): Promise<boolean> {
  const heir = subscriptions.get(subscription ?? '');
  if (heir && priority) await takeDown.move(name, queueOf(heir, priority), movedPerTurn).catch(unlessGone);
  const state = !heir && discarded?.has(subscription ?? '') === true ? 'any' : 'spent';
  return (await takeDown.removeQueue(name, state)) === 'gone';
}

function unlessGone(error: unknown): void {
  if (asProblem(error).kind !== 'not-found') throw error;
}

/** @returns what RabbitMQ refused for good; the rest is declared then. @throws Problem `broker-unavailable` */
async function provision(
  broker: Broker,
  plan: Topology,
  replaced: readonly Declared[],
): Promise<Problem | undefined> {
  try {
    await broker.provision(
      plan,
      replaced.map(({ name }) => name),
    );
    return undefined;
  } catch (error) {
    const problem = asProblem(error);
    if (problem.kind === 'broker-unavailable') throw problem;
    return problem;
  }
}

/** Exchanges that were declared with another type. */
function otherTypes({ exchanges }: Topology, noted: readonly Declared[]): readonly Declared[] {
  const types = new Map(exchanges.map(({ name, type }) => [name, type]));
  return noted.filter(
    (each) => each.kind === 'exchange' && (types.get(each.name) ?? each.type) !== each.type,
  );
}
