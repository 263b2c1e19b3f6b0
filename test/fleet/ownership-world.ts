/**
 * A deployment in memory for random histories: a center, edges with snapshots of any age, SETs that admit and deliver
 * lanes, movers that may be overtaken or die at every step. Movers, decisions and epochs are those of the product.
 */
import type { Clock } from '../../shared/clock.ts';
import {
  driveMove,
  planMove,
  type LeftOver,
  type MoveParts,
  type Owned,
} from '../../shared/fleet/move-buckets.ts';
import { bucketOf } from '../../shared/sets/bucket.ts';
import { assignBuckets, callOff, giveAway, heldBy, type Ownership } from '../../shared/sets/ownership.ts';
import { compileRouteTable } from '../../shared/sets/route-table.ts';
import type { Handover } from '../../shared/store/handover.ts';
import { comeBack } from '../../shared/fleet/come-back.ts';
import { takeOver, type TakeOverParts } from '../../shared/fleet/take-over.ts';
import type { Catalog } from '../../shared/catalog/catalog.ts';
import { HandoverInMemory } from './handover-in-memory.ts';
import { BucketBookInMemory } from '../sets/bucket-book.ts';

const setIds = ['east', 'west', 'north'] as const;
const lanes = ['user-1', 'user-2'] as const;

export type Step =
  | { readonly does: 'publish'; readonly edge: number; readonly lane: number }
  | { readonly does: 'refresh'; readonly edge: number }
  | { readonly does: 'begin' | 'end'; readonly set: number; readonly lane: number }
  | { readonly does: 'crash host'; readonly set: number }
  | {
      readonly does: 'move';
      readonly mover: number;
      readonly lane: number;
      readonly target: number;
      readonly patience: number;
    }
  | { readonly does: 'resume'; readonly mover: number }
  /** Loses a SET, or goes on with it; and brings one back. */
  | { readonly does: 'take over' | 'come back'; readonly mover: number; readonly set: number }
  | { readonly does: 'advance'; readonly mover: number; readonly times: number }
  | { readonly does: 'kill'; readonly mover: number; readonly when: 'before' | 'after' }
  | { readonly does: 'wait'; readonly ms: number };

/** Lets through one call at a time, when the history says so. */
class Turnstile {
  private waiting:
    | { readonly pass: (end: 'answer' | 'lost') => Promise<void>; readonly die: () => void }
    | undefined;
  isDead = false;

  enter<T>(work: () => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const die = (): void => reject(new Error('It was killed.'));
      if (this.isDead) return die();
      this.waiting = {
        die,
        async pass(end) {
          const answering = Promise.resolve().then(work);
          if (end === 'answer') return resolve(answering);
          await answering.catch(() => undefined);
          die();
        },
      };
    });
  }

  async advance(): Promise<void> {
    const { waiting } = this;
    this.waiting = undefined;
    await waiting?.pass('answer');
  }

  async kill(when: 'before' | 'after'): Promise<void> {
    const { waiting } = this;
    this.waiting = undefined;
    this.isDead = true;
    if (when === 'after') await waiting?.pass('lost');
    else waiting?.die();
  }
}

/** As far as a take-over looks at it. */
function catalogOf({ buckets, moves = [], sets: known }: Owned): Catalog {
  const sets = known.map(({ id, weight, status }, number) => ({
    id,
    number,
    weight,
    status,
    kind: 'unit',
    place: { latitude: number, longitude: 0 },
    shards: 1,
  }));
  const table = compileRouteTable({ version: 1, sets, buckets, pins: [], health: {} });
  const catalog = { version: 1, sets: new Map(table.sets.map((set) => [set.id, set])), table, moves };
  return {
    ...catalog,
    topics: new Map(),
    subscriptions: new Map(),
    access: new Map(),
    keys: new Map(),
    outboxes: [],
  };
}

async function itsTurn(): Promise<void> {
  for (let turn = 0; turn < 12; turn++) await Promise.resolve();
}

interface SetState {
  readonly book: BucketBookInMemory;
  readonly handover: HandoverInMemory;
  /** In the hands of the host, by lane. */
  readonly inHand: Map<string, number>;
}

interface Mover {
  readonly gate: Turnstile;
  /** The SET that it takes over, or brings back. */
  readonly lost: string | undefined;
  isOver: boolean;
}

export function openOwnershipWorld() {
  const sets = setIds.map((id) => ({ id, weight: 1, status: 'active' }));
  let owned: Owned = { sets, buckets: assignBuckets([], [], sets), moves: [] };
  const edges: Owned[] = [owned, owned];
  const states = new Map(
    setIds.map((id): [string, SetState] => [
      id,
      {
        book: new BucketBookInMemory(lanes.map(bucketOf)),
        handover: new HandoverInMemory(),
        inHand: new Map(),
      },
    ]),
  );
  const movers: (Mover | undefined)[] = [undefined, undefined];
  const accepted = new Map<string, number[]>();
  const effects = new Map<string, number[]>();
  /** Who has had a bucket at an epoch, by the catalog. */
  const holders = new Map<string, string>();
  const violations: string[] = [];
  let nowMs = 0;
  let messages = 0;

  const ownerOf = ({ buckets }: Owned, bucket: number) =>
    buckets.find(({ from, to }) => from <= bucket && bucket <= to);
  const stateOf = (set: string): SetState => {
    const state = states.get(set);
    if (!state) throw new Error(`There is no SET ${set}.`);
    return state;
  };
  const leftIn = ({ handover }: SetState): readonly LeftOver[] =>
    lanes.flatMap((lane) =>
      handover.waitingOf(lane).length > 0 ? [{ topic: 't', lane, waitsFor: 'them' }] : [],
    );

  const clockOf = (gate: Turnstile): Clock => ({
    nowMs: () => nowMs,
    after(_ms, run) {
      void gate.enter(run).catch(() => undefined);
      return () => undefined;
    },
  });
  const partsOf = (gate: Turnstile): MoveParts => ({
    clock: clockOf(gate),
    read: () => gate.enter(() => owned),
    write: (decide) =>
      gate.enter(() => {
        const wanted = decide(owned);
        if (wanted) owned = { ...owned, buckets: wanted.buckets, moves: wanted.moves };
        return owned;
      }),
    books: async (set) => [
      {
        open: (holdings) => gate.enter(() => stateOf(set).book.open(holdings)),
        close: (span) => gate.enter(() => stateOf(set).book.close(span)),
        closeAllBut: (holdings) => gate.enter(() => stateOf(set).book.closeAllBut(holdings)),
        left: () => gate.enter(() => leftIn(stateOf(set))),
      },
    ],
  });
  const statusOf = (set: string, status: string): void => {
    owned = { ...owned, sets: owned.sets.map((each) => (each.id === set ? { ...each, status } : each)) };
  };
  const become = (given: Ownership): void =>
    void (owned = { ...owned, buckets: given.buckets, moves: given.moves });
  const handoverOf = (gate: Turnstile, set: string): Handover => {
    const { handover } = stateOf(set);
    return {
      fence: () => gate.enter(() => handover.fence()),
      unfence: (_set, epoch) => gate.enter(() => handover.unfence(epoch)),
      progress: () => gate.enter(() => handover.progress()),
      plan: (_set, _hearers, wanted) => gate.enter(() => handover.plan(wanted)),
      next: () => gate.enter(() => handover.next()),
      takeIn: (_target, _origin, goods) => gate.enter(() => handover.takeIn(goods)),
      sendOff: (_set, _target, goods) => gate.enter(() => handover.sendOff(goods)),
      belongings: async () => ({ messages: [], rows: {} }),
      takeInBelongings: async () => undefined,
      end: () => gate.enter(() => handover.end()),
      footing: () => Promise.reject(new Error('not asked')),
      lastPlan: () => gate.enter(() => handover.lastPlan),
      departed: async () => new Set(),
    };
  };
  const takeOverPartsOf = (gate: Turnstile): TakeOverParts => ({
    catalog: () => gate.enter(() => catalogOf(owned)),
    writes: {
      fence: (set) =>
        gate.enter(() => {
          statusOf(set, 'fenced');
          become(callOff(owned, set));
        }),
      async bequeath(set, holdings) {
        const { buckets } = await gate.enter(() => giveAway(owned, set, holdings));
        for (const heir of setIds)
          await gate.enter(() => {
            stateOf(heir).book.open(heldBy(owned.buckets, heir));
            stateOf(heir).book.open(heldBy(buckets, heir));
          });
        await gate.enter(() => become(giveAway(owned, set, holdings)));
      },
      activate: (set) => gate.enter(() => statusOf(set, 'active')),
    },
    handovers: async (set) => [handoverOf(gate, set)],
    shelves: async () => [],
    stores: async () => [],
    hearers: async () => [],
    report: () => undefined,
    moves: partsOf(gate),
  });
  const start = (index: number, work: (gate: Turnstile) => Promise<unknown>, lost?: string): void => {
    if (movers[index]?.isOver === false) return;
    const mover: Mover = { gate: new Turnstile(), isOver: false, lost };
    movers[index] = mover;
    const over = (): void => void (mover.isOver = true);
    void work(mover.gate).then(over, over);
  };
  const resume = async (gate: Turnstile): Promise<void> => {
    const parts = partsOf(gate);
    const { moves = [] } = await parts.read();
    for (const move of moves) await driveMove(parts, move, { maxMs: Infinity });
  };

  const publish = (edge: number, lane: string): void => {
    const bucket = bucketOf(lane);
    const home = ownerOf(edges[edge] ?? owned, bucket);
    if (!home) return;
    const { book, handover } = stateOf(home.set);
    // A refusal is how an edge learns that its catalog is old.
    if (handover.isFenced || !book.admits({ bucket, epoch: home.epoch })) return void (edges[edge] = owned);
    const id = messages++;
    handover.accept(lane, id);
    accepted.set(lane, [...(accepted.get(lane) ?? []), id]);
  };
  const deliver = (set: string, lane: string, does: 'begin' | 'end'): void => {
    const { handover, inHand } = stateOf(set);
    const [head] = handover.waitingOf(lane);
    // A claim of a host that is fenced is refused.
    if (does === 'begin') return void (head !== undefined && !handover.isFenced && inHand.set(lane, head));
    const called = inHand.get(lane);
    if (called === undefined) return;
    const done = effects.get(lane) ?? [];
    // The guard knows it by its id. A call that was begun has its effect, whoever took the SET over since.
    if (!done.includes(called)) effects.set(lane, [...done, called]);
    inHand.delete(lane);
    handover.record(called);
  };

  const look = (): void => {
    for (const lane of lanes) {
      const having = setIds.filter((set) => {
        const { handover } = stateOf(set);
        return !handover.isFenced && handover.waitingOf(lane).length > 0;
      });
      if (having.length > 1) violations.push(`${lane} is to be delivered by ${having.join(' and ')}.`);
      const done = effects.get(lane) ?? [];
      if (done.some((id, index) => id !== accepted.get(lane)?.[index]))
        violations.push(
          `${lane} was delivered as ${done.join()}, accepted as ${accepted.get(lane)?.join()}.`,
        );
      const owner = ownerOf(owned, bucketOf(lane));
      const name = `${lane} at epoch ${owner?.epoch}`;
      const before = holders.get(name) ?? owner?.set;
      if (owner && before !== owner.set) violations.push(`${name} was ${before}'s and is ${owner.set}'s.`);
      if (owner) holders.set(name, owner.set);
    }
  };

  const moveLane = ({ lane, mover, patience, target }: Extract<Step, { does: 'move' }>): void => {
    const bucket = bucketOf(lanes[lane] ?? '');
    const untilMs = nowMs + patience;
    const wish = { from: bucket, to: bucket, target: setIds[target] ?? '', untilMs };
    start(mover, async (gate) => {
      const parts = partsOf(gate);
      const move = await planMove(parts, wish);
      await driveMove(parts, move, { maxMs: Infinity });
    });
  };
  const loseOrFind = (step: Extract<Step, { does: 'take over' | 'come back' }>): void => {
    const set = setIds[step.set] ?? '';
    // Nobody loses two SETs in one moment; one after the other, dead ends of the first included.
    if (movers.some((mover) => mover?.isOver === false && (mover.lost ?? set) !== set)) return;
    const work = async (gate: Turnstile): Promise<unknown> => {
      const parts = takeOverPartsOf(gate);
      return step.does === 'take over' ? takeOver(parts, { set }) : comeBack(parts, set);
    };
    start(step.mover, work, set);
  };

  const take = async (step: Step): Promise<void> => {
    switch (step.does) {
      case 'publish':
        publish(step.edge, lanes[step.lane] ?? '');
        break;
      case 'refresh':
        edges[step.edge] = owned;
        break;
      case 'begin':
      case 'end':
        deliver(setIds[step.set] ?? '', lanes[step.lane] ?? '', step.does);
        break;
      case 'crash host':
        stateOf(setIds[step.set] ?? '').inHand.clear();
        break;
      case 'move':
        moveLane(step);
        break;
      case 'resume':
        start(step.mover, resume);
        break;
      case 'take over':
      case 'come back':
        loseOrFind(step);
        break;
      case 'advance':
        for (let time = 0; time < step.times; time++) {
          await movers[step.mover]?.gate.advance();
          await itsTurn();
        }
        break;
      case 'kill':
        await movers[step.mover]?.gate.kill(step.when);
        movers[step.mover] = undefined;
        break;
      case 'wait':
        nowMs += step.ms;
    }
    // Whoever was let through goes on to its next call.
    await itsTurn();
    look();
  };

  return {
    violations,
    accepted,
    effects,
    take,
    /** How many changes of owners there were. */
    changes: () => holders.size - lanes.length,
    moves: () => owned.moves ?? [],
    /** Everybody lives, and goes on until nothing is left to do. */
    async settle(): Promise<void> {
      for (let index = 0; index < movers.length; index++)
        await take({ does: 'kill', mover: index, when: 'before' });
      let turn = 0;
      for (let round = 0; round < 2_000; round++) {
        for (const [set] of setIds.entries())
          for (const [lane] of lanes.entries())
            for (const does of ['begin', 'end'] as const) await take({ does, set, lane });
        // Those that were begun end; then everybody comes back.
        const fenced = setIds.filter(
          (id) =>
            stateOf(id).handover.isFenced ||
            owned.sets.some((each) => each.id === id && each.status === 'fenced'),
        );
        // One may wait for another to be taken over, or to come back.
        if (movers[0]?.isOver !== false) turn++;
        const lost = fenced[turn % Math.max(1, fenced.length)];
        const isBegun = lost !== undefined && stateOf(lost).handover.progress().state === 'begun';
        const next: Step =
          lost === undefined
            ? { does: 'resume', mover: 0 }
            : {
                does: isBegun ? 'take over' : 'come back',
                mover: 0,
                set: setIds.findIndex((id) => id === lost),
              };
        await take(next);
        await take({ does: 'advance', mover: 0, times: 1 });
        const isIdle = [...states.values()].every((state) => leftIn(state).length === 0);
        if (isIdle && fenced.length === 0 && (owned.moves ?? []).length === 0) return;
      }
      violations.push('It never came to rest.');
    },
  };
}
