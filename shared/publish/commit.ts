/**
 * The SET's side of a publish: group commit, then send, then settle.
 *
 *   offers of many requests ─▶ one INSERT (messages, bodies, keys, one agenda entry) ─▶ receipts, the 202
 *                                   └▶ one pipelined publish of the whole group ─▶ one settle
 *
 * A message is accepted when the INSERT is committed; everything after it is repaired by the agenda entry. Messages of
 * mirrored topics go to a sibling's database before (mirror.ts).
 */
import type { AgendaKind } from '../agenda/agenda.ts';
import { createBatcher, type Batcher } from '../batcher.ts';
import type { Clock } from '../clock.ts';
import type { MessageId } from '../identifier.ts';
import { toOutbound } from '../message/envelope.ts';
import type { MessageState } from '../message/lifecycle.ts';
import { shardOf } from '../message/shard.ts';
import { asProblem, fromProblemData, Problem, toProblemData } from '../problem.ts';
import type { AcceptOptions, Offer, Receipt } from '../sets/set-link.ts';
import type { Commit, Store } from '../store/store.ts';
import { isMirrored, type Mirror } from './mirror.ts';
import { sendMessages, type SendParts } from './send.ts';

export interface CommitParts extends SendParts {
  /** One per shard, in shard order. */
  readonly stores: readonly Store[];
  readonly clock: Clock;
  /** When somebody else should send what this host has not settled by then. */
  readonly resendAfterMs: number;
  /** Something was stored that falls due after this long. */
  readonly onDue: (afterMs: number, kind: AgendaKind) => void;
  readonly mirror: Mirror;
  /** So many were taken. */
  readonly onTaken: (messages: number) => void;
}

export interface Committer {
  accept(offers: readonly Offer[], options: AcceptOptions): Promise<readonly Receipt[]>;
  /** Messages committed here whose outcome is not written yet. */
  readonly unsettled: number;
  /** Resolves when everything accepted so far is settled, or left to the agenda. */
  idle(): Promise<void>;
}

/** A group of this many messages is one statement of about 200 KiB at 200 bytes a body: larger ones gain nothing. */
const maxGroup = 500;
/** The first of a group waits this long for company; see shared/batcher.ts. */
const lingerMs = 1;
/** One group being written, one being gathered and sent off: more only makes groups smaller. */
const maxGroupsUnderWay = 2;

type States = ReadonlyMap<MessageId, MessageState>;

interface Committed {
  readonly receipt: Receipt;
  /** What the broker said of the group; never rejects. */
  readonly settled: Promise<States>;
}

/** A group whose statement the database refused is tried unit by unit: only the unit at fault fails. */
type Fate = Committed | Problem;

export function createCommitter(parts: CommitParts): Committer {
  const groups = parts.stores.map((store) => createGroups(parts, store, track));
  let unsettled = 0;
  const idlers: (() => void)[] = [];

  function track(sending: Promise<States>, amount: number): Promise<States> {
    unsettled += amount;
    // Losing a failure here is safe: the agenda entry is still there and falls due.
    return sending
      .catch((): States => new Map())
      .finally(() => {
        unsettled -= amount;
        if (unsettled === 0) for (const idler of idlers.splice(0)) idler();
      });
  }

  return {
    get unsettled() {
      return unsettled;
    },
    async accept(offers, { waitMs }) {
      const fast = offers.filter((offer) => offer.message.mode === 'fast');
      if (fast.length > 0 && !parts.canSend()) throw notSendable();
      if (fast.length > 0) {
        await parts.broker.publishFast(fast.map(({ message }) => toOutbound(message)));
        parts.onTaken(fast.length);
      }
      if (fast.length === offers.length) return offers.map(({ message }) => sent(message.id));
      const committed = offers.some(isMirrored)
        ? await commitMirrored(groups, offers, await parts.mirror.keep(offers))
        : await commitByShard(groups, offers);
      const [first] = committed;
      // Nothing was stored: the next SET may have more luck.
      if (first?.receipt.refusal && committed.every(({ receipt }) => receipt.refusal))
        throw fromProblemData(first.receipt.refusal);
      if (waitMs > 0) return awaitStates(parts.clock, committed, waitMs);
      return committed.map(({ receipt }) => receipt);
    },
    async idle() {
      await Promise.all(groups.map((group) => group.idle()));
      if (unsettled > 0) await new Promise<void>((resolve) => idlers.push(resolve));
    },
  };
}

/** Before the topology is declared, the broker would close the channel and drop the message. */
function notSendable(): Problem {
  return new Problem('broker-unavailable', 'The broker of this SET takes no fast messages now.');
}

function sent(id: MessageId): Receipt {
  return { id, state: 'SENT', duplicate: false };
}

type Groups = Batcher<Offer, Fate>;

function createGroups(
  parts: CommitParts,
  store: Store,
  track: (sending: Promise<States>, amount: number) => Promise<States>,
): Groups {
  const run = async (offers: readonly Offer[]): Promise<readonly Fate[]> => {
    try {
      return await commitGroup(offers);
    } catch (error) {
      const problem = asProblem(error);
      if (problem.kind !== 'internal') throw problem;
      const units = unitsOf(offers);
      if (units.length === 1) return offers.map(() => problem);
      return (await Promise.all(units.map(run))).flat();
    }
  };
  const commitGroup = async (offers: readonly Offer[]): Promise<readonly Committed[]> => {
    const commit = await store.commit(offers, { set: parts.set, resendAfterMs: parts.resendAfterMs });
    parts.telemetry.observe('setway_commit_size', { set: parts.set }, offers.length);
    parts.onTaken(offers.length);
    if (commit.dueInMs !== undefined) parts.onDue(commit.dueInMs, 'release');
    if (commit.checkInMs !== undefined) parts.onDue(commit.checkInMs, 'check');
    const settled = send(offers, commit);
    return commit.receipts.map((receipt) => ({ receipt, settled }));
  };
  const send = async (offers: readonly Offer[], { lease, receipts }: Commit): Promise<States> => {
    if (!lease) return new Map();
    const fresh = offers.filter((_, index) => isFresh(receipts[index])).map(({ message }) => message);
    parts.telemetry.count('setway_stored_total', { set: parts.set }, fresh.length);
    return track(sendMessages(parts, store, { lease, messages: fresh, attempts: 0 }), fresh.length);
  };
  return createBatcher({
    run,
    maxItems: maxGroup,
    lingerMs,
    maxUnderWay: maxGroupsUnderWay,
    clock: parts.clock,
  });
}

function isFresh(receipt: Receipt | undefined): boolean {
  return receipt?.state === 'READY' && !receipt.duplicate && receipt.refusal === undefined;
}

/** Offers that must be stored together stand together already: they came in one call. */
function unitsOf(offers: readonly Offer[]): readonly (readonly Offer[])[] {
  const units: Offer[][] = [];
  for (const [index, offer] of offers.entries()) {
    if (offer.unit !== undefined && offer.unit === offers[index - 1]?.unit) units.at(-1)?.push(offer);
    else units.push([offer]);
  }
  return units;
}

async function commitByShard(
  groups: readonly Groups[],
  offers: readonly Offer[],
): Promise<readonly Committed[]> {
  const shards = offers.map(({ message }) =>
    message.mode === 'fast' ? -1 : shardOf(message.id, groups.length),
  );
  const results: Committed[] = offers.map(({ message }) => ({
    receipt: sent(message.id),
    settled: Promise.resolve(new Map()),
  }));
  await Promise.all(
    [...new Set(shards)].map(async (shard) => {
      const group = groups[shard];
      if (!group) return;
      const indices = shards.flatMap((each, index) => (each === shard ? [index] : []));
      const committed = await group.add(indices.flatMap((index) => offers[index] ?? []));
      committed.forEach((fate, position) => {
        const index = indices[position] ?? 0;
        results[index] = fate instanceof Problem ? refusedBy(fate, offers[index]) : fate;
      });
    }),
  );
  return results;
}

/** Commits what somebody keeps a copy of, and what needs none. */
async function commitMirrored(
  groups: readonly Groups[],
  offers: readonly Offer[],
  kept: readonly (Offer | Problem)[],
): Promise<readonly Committed[]> {
  const committed = await commitByShard(
    groups,
    kept.filter((each): each is Offer => !(each instanceof Problem)),
  );
  let nth = 0;
  return kept.flatMap((each, index) =>
    each instanceof Problem ? refusedBy(each, offers[index]) : (committed[nth++] ?? []),
  );
}

function refusedBy(problem: Problem, offer: Offer | undefined): Committed {
  if (!offer) throw problem;
  const receipt = {
    id: offer.message.id,
    state: 'READY',
    duplicate: false,
    refusal: toProblemData(problem),
  } as const;
  return { receipt, settled: Promise.resolve(new Map()) };
}

async function awaitStates(
  clock: Clock,
  committed: readonly Committed[],
  waitMs: number,
): Promise<readonly Receipt[]> {
  let cancel = (): void => undefined;
  const timeout = new Promise<States>((resolve) => (cancel = clock.after(waitMs, () => resolve(new Map()))));
  const receipts = await Promise.all(
    committed.map(async ({ receipt, settled }) => {
      const states = await Promise.race([settled, timeout]);
      return { ...receipt, state: states.get(receipt.id) ?? receipt.state };
    }),
  );
  cancel();
  return receipts;
}
