/**
 * Check-back: asks the producer of a transaction that stays undecided.
 *
 *   claim `check` entries ─▶ signed POST to the check URL ─▶ committed | rolled_back: decide, like the producer itself
 *                                                        └▶ anything else: asked again later; after 15 times parked
 *
 * Nothing is ever guessed: a parked transaction (CHECK_EXHAUSTED) is visible and can still be decided. What if the
 * process dies: before the answer is recorded, the claim falls due again and the producer is asked once more; an answer
 * that comes after a decision changes nothing. A transaction without a check URL has the same clock and nobody to ask.
 */
import type { DueEntry } from '../agenda/agenda.ts';
import type { CheckAnswer, Courier } from '../delivery/courier.ts';
import { transactionOf } from '../identifier.ts';
import { asProblem } from '../problem.ts';
import type { Decision, TransactionRecord } from '../sets/set-link.ts';
import type { Store } from '../store/store.ts';
import type { Topic } from '../subscriptions/subscription.ts';
import type { Telemetry } from '../telemetry.ts';
import type { Decider } from './decide.ts';

export interface CheckParts {
  readonly set: string;
  readonly host: string;
  readonly courier: Pick<Courier, 'ask'>;
  readonly decider: Pick<Decider, 'link'>;
  readonly telemetry: Telemetry;
  /** A topic as the catalog has it now. */
  readonly topic: (name: string) => Topic | undefined;
}

/** How often a producer is asked. RocketMQ's broker gives up after as many (`transactionCheckMax`). */
const maxChecks = 15;
/** Total time of one call: a producer looks into its own database. */
export const checkTimeoutMs = 5_000;

/** 6 s, 12 s, 24 s … at most 10 minutes: with the first one after 6 s, about 80 minutes in all. */
function nextCheckMs(checksBefore: number): number {
  return Math.min(6_000 * 2 ** Math.min(checksBefore, 10), 600_000);
}

const decisions: Readonly<Record<'committed' | 'rolled_back', Decision>> = {
  committed: 'COMMITTED',
  rolled_back: 'ROLLED_BACK',
};

export async function checkDue(parts: CheckParts, store: Store, entries: readonly DueEntry[]): Promise<void> {
  // One that fails stays claimed and falls due again when its lease ends.
  await Promise.allSettled(entries.map((entry) => checkOne(parts, store, entry)));
}

async function checkOne(parts: CheckParts, store: Store, entry: DueEntry): Promise<void> {
  const [first] = entry.refs;
  const transaction = first && (await store.findTransaction(transactionOf(first)));
  if (transaction?.state !== 'PREPARED') return store.finish([entry]);
  const answer = await ask(parts, transaction);
  parts.telemetry.count('setway_checks_total', { set: parts.set, state: answer.state });
  if (answer.state === 'unknown') return recordFruitless(parts, store, { entry, transaction, answer });
  const decision = decisions[answer.state];
  await parts.decider.link.decide({ id: transaction.id, owner: transaction.owner, decision, by: 'check' });
  return undefined;
}

async function ask(parts: CheckParts, transaction: TransactionRecord): Promise<CheckAnswer> {
  const { id, checkUrl, checks, messages } = transaction;
  if (checkUrl === null) return { state: 'unknown', error: 'There is no check URL.' };
  const { secrets = [] } = parts.topic(messages[0]?.topic ?? '') ?? {};
  if (secrets.length === 0) return { state: 'unknown', error: 'The topic has no signing secrets any more.' };
  const asked = {
    transaction: id,
    messages: messages.map(({ id: message, topic }) => ({ id: message, topic })),
  };
  const check = { url: checkUrl, id: `${id}-${checks + 1}`, ...asked, secrets, timeoutMs: checkTimeoutMs };
  return parts.courier.ask(check).catch((error: unknown) => ({
    state: 'unknown',
    error: asProblem(error).message,
  }));
}

interface Fruitless {
  readonly entry: DueEntry;
  readonly transaction: TransactionRecord;
  readonly answer: CheckAnswer;
}

async function recordFruitless(
  { host }: CheckParts,
  store: Store,
  { entry, transaction, answer }: Fruitless,
): Promise<void> {
  const { id, checks } = transaction;
  const isLast = checks + 1 >= maxChecks;
  const again = isLast ? {} : { againAfterMs: nextCheckMs(checks) };
  await store.recordCheck({ lease: entry, id, said: answer.error ?? 'unknown', ...again, host });
}
