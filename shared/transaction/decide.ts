/**
 * A transaction's decision inside a SET: the first terminal one wins, and what is committed is sent at once.
 *
 *   PREPARED | CHECK_EXHAUSTED ──commit──▶ COMMITTED: messages READY (or SCHEDULED) under a `send` entry ─▶ send, settle
 *                              ──rollback─▶ ROLLED_BACK: messages ROLLED_BACK
 *
 * One statement turns the transaction with all its messages, so nobody ever sees a part of one. What if the process dies:
 * before the statement, nothing is decided; after it, the `send` entry falls due; and a decision that is repeated because
 * its answer was lost changes nothing and is answered with what is.
 */
import type { AgendaKind } from '../agenda/agenda.ts';
import { shardOf } from '../message/shard.ts';
import { sendMessages, type SendParts } from '../publish/send.ts';
import type { DecisionRequest, SetLink } from '../sets/set-link.ts';
import type { Store } from '../store/store.ts';

export interface DecideParts extends SendParts {
  readonly host: string;
  /** One per shard, in shard order. */
  readonly stores: readonly Store[];
  /** When somebody else should send what this host has not settled by then. */
  readonly resendAfterMs: number;
  /** Messages became SCHEDULED that fall due after this long. */
  readonly onDue: (afterMs: number, kind: AgendaKind) => void;
}

export interface Decider {
  readonly link: Pick<SetLink, 'decide' | 'findTransaction'>;
  /** Resolves when everything committed so far is settled, or left to the agenda. */
  idle(): Promise<void>;
}

export function createDecider(parts: DecideParts): Decider {
  const sendings = new Set<Promise<unknown>>();
  const storeOf = (id: DecisionRequest['id']): Store | undefined =>
    parts.stores[shardOf(id, parts.stores.length)];

  const track = (sending: Promise<unknown>): void => {
    // Losing a failure here is safe: the agenda entry is still there and falls due.
    const ended = sending.catch(() => undefined).finally(() => sendings.delete(ended));
    sendings.add(ended);
  };

  const decide: SetLink['decide'] = async (request) => {
    const store = storeOf(request.id);
    const decided = await store?.decide(request, parts);
    if (!store || !decided) return undefined;
    const { lease, messages, transaction, dueInMs } = decided;
    if (dueInMs !== undefined) parts.onDue(dueInMs, 'release');
    if (lease) track(sendMessages(parts, store, { lease, messages, attempts: 0 }));
    return transaction;
  };

  return {
    link: { decide, findTransaction: async (id) => storeOf(id)?.findTransaction(id) },
    async idle() {
      while (sendings.size > 0) await Promise.all(sendings);
    },
  };
}
