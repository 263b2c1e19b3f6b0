/** One worker of one sequence: asks what its turn is (next-turn.ts) and takes it. */
import { withCallback } from '../delivery/ended.ts';
import { afterFailure } from '../delivery/lease-ended.ts';
import { deliveryTransitions } from '../message/lifecycle.ts';
import type { Message } from '../message/message.ts';
import type { DeliveryOutcome } from '../store/delivery-outcome.ts';
import type { AssemblyChange, AssemblyState, StreamView } from '../store/ordered-store.ts';
import type { Desk, OrderParts } from './desk.ts';
import { nextTurn, type Callable, type NextTurn } from './next-turn.ts';
import { togetherOf } from './together.ts';
import { callHead, isAtItsBeginning, type After, type Run } from './turn.ts';

/** What was sent again has this long to arrive: as long as the deadline was, within bounds. */
const graceMs = { least: 1_000, most: 30_000 } as const;
/** While the broker is away nothing can be sent again, and no gap is decided. */
const brokerAwayMs = 2_000;

/** Takes turns until the worker's hold has ended, or what was loaded is out of date. */
export async function workOffSequence(
  parts: OrderParts,
  desk: Desk,
  run: Run,
  view: StreamView,
): Promise<After> {
  let seen = view;
  for (;;) {
    const { assembly } = seen;
    if (!assembly || assembly.cursor >= assembly.size) return close(desk, run, seen);
    const turn = nextTurn(
      seen,
      assembly,
      parts.subscription(run.lease.subscription)?.ordered ?? 'one-by-one',
    );
    const decidedTo = await take(parts, desk, { run, seen, turn });
    if (typeof decidedTo !== 'number') return decidedTo;
    seen = {
      ...seen,
      items: seen.items.filter(({ position }) => position > decidedTo),
      assembly: { ...assembly, cursor: decidedTo },
    };
  }
}

interface Taking<Turn = NextTurn> {
  readonly run: Run;
  readonly seen: StreamView;
  readonly turn: Turn;
}

/** @returns the position up to which all is decided now, or what the worker does instead */
async function take(parts: OrderParts, desk: Desk, taking: Taking): Promise<number | After> {
  const { run, seen, turn } = taking;
  switch (turn.does) {
    case 'rest':
      await desk.store.rest(run.lease, seen, turn.forMs);
      return 'ended';
    case 'ask':
      return ask(parts, desk, run, seen);
    case 'gap':
      return decideGap(parts, desk, { run, seen, turn });
    case 'pass':
      return goTo(desk, run, seen, turn.through);
    case 'call':
      return call(parts, desk, { run, seen, turn });
  }
}

async function close(desk: Desk, { lease }: Run, { signals, assembly }: StreamView): Promise<After> {
  const stepped = await desk.step([{ lease, position: assembly?.cursor ?? 0, closeAt: signals }]);
  return stepped === 'held' ? 'next' : 'ended';
}

async function goTo(desk: Desk, { lease }: Run, seen: StreamView, position: number): Promise<number | After> {
  const closing = position >= (seen.assembly?.size ?? 0) ? { closeAt: seen.signals } : {};
  return (await desk.step([{ lease, position, ...closing }])) === 'held' ? position : 'ended';
}

async function ask(parts: OrderParts, desk: Desk, run: Run, seen: StreamView): Promise<After> {
  const missing = await desk.store.missing(run.lease);
  // Before the change is written: whoever dies in between leaves it to be done again.
  if ((await parts.resend(missing)) === 'unknown') {
    await desk.store.rest(run.lease, seen, brokerAwayMs);
    return 'ended';
  }
  const order = missing[0]?.order;
  const deadlineMs = order?.kind === 'sequence' ? order.deadlineMs : 0;
  const restMs = Math.min(graceMs.most, Math.max(graceMs.least, deadlineMs));
  const because = 'The deadline has passed.';
  return change(parts, desk, run, { seen, state: 'ASKED', cursor: 0, because, restMs });
}

const stateAfterGap = { skip: 'RELEASED', abort: 'ABORTED', block: 'BLOCKED' } as const satisfies Record<
  string,
  AssemblyState
>;

async function decideGap(
  parts: OrderParts,
  desk: Desk,
  { run, seen, turn }: Taking<Extract<NextTurn, { does: 'gap' }>>,
): Promise<After> {
  const { onGap = 'block', size = 0 } = seen.assembly ?? {};
  const what = turn.why === 'dead' ? `Item ${turn.at} is dead` : `Item ${turn.at} is missing`;
  const mark = {
    which: onGap === 'skip' ? 'missing' : 'open',
    as: onGap === 'block' ? 'BLOCKED' : 'SKIPPED',
    // A missing item is given up itself; one that is waited for, or dead, is not.
    after: onGap === 'block' || turn.why === 'dead' ? turn.at : turn.at - 1,
    through: size,
  } as const;
  const because = `${what} (onGap: ${onGap}).`;
  const gap = { at: turn.at, why: turn.why };
  // Blocked: what is before the gap is still to be delivered, at once. Skipped: a dead item is behind the cursor then.
  const cursor = onGap === 'skip' && turn.why === 'dead' ? turn.at : 0;
  const state = stateAfterGap[onGap];
  const decided = await change(parts, desk, run, { seen, state, cursor, mark, because, gap, restMs: 0 });
  parts.onGap();
  return decided;
}

async function change(
  parts: OrderParts,
  desk: Desk,
  { lease }: Run,
  decided: Omit<AssemblyChange, 'lease'>,
): Promise<After> {
  // Overtaken by an arrival: what was decided is out of date.
  const changed = await desk.store.changeAssembly({ lease, ...decided }, parts.host);
  if (changed === 'changed' && decided.restMs > 0) {
    parts.onDue(decided.restMs);
    return 'ended';
  }
  return 'next';
}

/** Its items would have to be answered one by one, and were called as one. */
function notLater(parts: OrderParts, message: Message, said: DeliveryOutcome): DeliveryOutcome {
  const subscription = parts.subscription(said.subscription);
  const error = 'A sequence that travels together cannot be answered later (setway-async).';
  if (!subscription) return said;
  const outcome = { ...said, error, ...afterFailure(message, subscription, said.attempt) };
  return withCallback(outcome, { message, subscription, set: parts.set }, null);
}

type CallTurn = Extract<NextTurn, { does: 'call' }>;

function unheardOf(parts: OrderParts, { hears }: Desk, { run, turn }: Taking<CallTurn>): readonly Callable[] {
  const subscription = parts.subscription(run.lease.subscription);
  if (!subscription) return [];
  return turn.items.filter((item) => isAtItsBeginning(item) && !hears(subscription, item.message));
}

/** Their end is written, unlike a lane's: whoever looks a sequence up sees that these were not for the subscription. */
async function leaveOut(
  desk: Desk,
  { run: { lease }, seen }: Taking<CallTurn>,
  unheard: readonly Callable[],
): Promise<After> {
  const steps = unheard.map(({ messageId, attempts }) => ({
    lease,
    position: seen.assembly?.cursor ?? 0,
    outcome: {
      messageId,
      subscription: lease.subscription,
      attempt: attempts,
      state: 'SKIPPED' as const,
      status: null,
      error: 'The filter of the subscription left it out.',
      durationMs: 0,
      retryAfterMs: 0,
    },
  }));
  return (await desk.step(steps)) === 'held' ? 'next' : 'ended';
}

async function call(parts: OrderParts, desk: Desk, taking: Taking<CallTurn>): Promise<number | After> {
  const { run, seen, turn } = taking;
  const { lease } = run;
  const [first, ...others] = turn.items;
  if (!first) return 'next';
  const unheard = unheardOf(parts, desk, taking);
  if (unheard.length > 0) return leaveOut(desk, taking, unheard);
  const isTogether = parts.subscription(lease.subscription)?.ordered === 'together';
  const message = isTogether
    ? togetherOf([first.message, ...others.map((item) => item.message)])
    : first.message;
  const said = await callHead(parts, desk, run, { item: first, message, view: seen });
  if (said === 'ended') return 'ended';
  const outcome = isTogether && said.state === 'LEASED' ? notLater(parts, message, said) : said;
  const isOpen = deliveryTransitions[outcome.state].length > 0;
  const { size = 0, cursor = 0 } = seen.assembly ?? {};
  // The cursor stays before what is tried again, and before a gap, which a dead item is: onGap decides about it.
  const stays = isOpen || (outcome.state === 'DEAD' && !isTogether);
  const through = stays ? cursor : isTogether ? size : first.position;
  const steps = turn.items.map(({ messageId }: Callable) => ({
    lease,
    position: through,
    outcome: { ...outcome, messageId },
    ...(through >= size ? { closeAt: seen.signals } : {}),
  }));
  const stepped = await desk.step(steps);
  if (isOpen) parts.onDue(outcome.retryAfterMs);
  if (isOpen || stepped !== 'held') return 'ended';
  return stays ? 'next' : through;
}
