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
import { assignBuckets } from '../../shared/sets/ownership.ts';
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

async function itsTurn(): Promise<void> {
  for (let turn = 0; turn < 12; turn++) await Promise.resolve();
}

interface SetState {
  readonly book: BucketBookInMemory;
  /** Accepted and not delivered yet, by lane. */
  readonly waiting: Map<string, number[]>;
  /** In the hands of the host, by lane. */
  readonly inHand: Map<string, number>;
}

interface Mover {
  readonly gate: Turnstile;
  isOver: boolean;
}

export function openOwnershipWorld() {
  const sets = setIds.map((id) => ({ id, weight: 1, status: 'active' }));
  let owned: Owned = { sets, buckets: assignBuckets([], [], sets), moves: [] };
  const edges: Owned[] = [owned, owned];
  const states = new Map(
    setIds.map((id): [string, SetState] => [
      id,
      { book: new BucketBookInMemory(lanes.map(bucketOf)), waiting: new Map(), inHand: new Map() },
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
  const leftIn = ({ waiting }: SetState): readonly LeftOver[] =>
    [...waiting].flatMap(([lane, ids]) => (ids.length > 0 ? [{ topic: 't', lane, waitsFor: 'them' }] : []));

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
        closeAllBut: () => Promise.reject(new Error('not asked')),
        left: () => gate.enter(() => leftIn(stateOf(set))),
      },
    ],
  });
  const start = (index: number, work: (parts: MoveParts) => Promise<unknown>): void => {
    if (movers[index]?.isOver === false) return;
    const mover: Mover = { gate: new Turnstile(), isOver: false };
    movers[index] = mover;
    const over = (): void => void (mover.isOver = true);
    void work(partsOf(mover.gate)).then(over, over);
  };
  const resume = async (parts: MoveParts): Promise<void> => {
    const { moves = [] } = await parts.read();
    for (const move of moves) await driveMove(parts, move, { maxMs: Infinity });
  };

  const publish = (edge: number, lane: string): void => {
    const bucket = bucketOf(lane);
    const home = ownerOf(edges[edge] ?? owned, bucket);
    if (!home) return;
    const { book, waiting } = stateOf(home.set);
    // A refusal is how an edge learns that its catalog is old.
    if (!book.admits({ bucket, epoch: home.epoch })) return void (edges[edge] = owned);
    const id = messages++;
    waiting.set(lane, [...(waiting.get(lane) ?? []), id]);
    accepted.set(lane, [...(accepted.get(lane) ?? []), id]);
  };
  const deliver = (set: string, lane: string, does: 'begin' | 'end'): void => {
    const { waiting, inHand } = stateOf(set);
    const [head, ...rest] = waiting.get(lane) ?? [];
    if (head === undefined) return;
    if (does === 'begin') return void inHand.set(lane, head);
    if (inHand.get(lane) !== head) return;
    const done = effects.get(lane) ?? [];
    // The guard knows it by its id.
    if (!done.includes(head)) effects.set(lane, [...done, head]);
    inHand.delete(lane);
    waiting.set(lane, rest);
  };

  const look = (): void => {
    for (const lane of lanes) {
      const having = setIds.filter((set) => (stateOf(set).waiting.get(lane)?.length ?? 0) > 0);
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
      case 'move': {
        const bucket = bucketOf(lanes[step.lane] ?? '');
        const target = setIds[step.target] ?? '';
        const wish = { from: bucket, to: bucket, target, untilMs: nowMs + step.patience };
        start(step.mover, async (parts) => {
          const move = await planMove(parts, wish);
          await driveMove(parts, move, { maxMs: Infinity });
        });
        break;
      }
      case 'resume':
        start(step.mover, resume);
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
      for (let round = 0; round < 400; round++) {
        for (const [set] of setIds.entries())
          for (const [lane] of lanes.entries())
            for (const does of ['begin', 'end'] as const) await take({ does, set, lane });
        await take({ does: 'resume', mover: 0 });
        await take({ does: 'advance', mover: 0, times: 1 });
        const isIdle = [...states.values()].every((state) => leftIn(state).length === 0);
        if (isIdle && (owned.moves ?? []).length === 0) return;
      }
      violations.push('It never came to rest.');
    },
  };
}
