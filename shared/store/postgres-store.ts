/** The store contract over one Postgres database. */
import { changeAssembly, gatherItems, loadMissing, restStream } from './assembly.ts';
import { recordAnswers } from './answers.ts';
import { settleFiltered } from './audit-filtered.ts';
import { auditMessages } from './audit.ts';
import type { Sql } from './database.ts';
import { loadDeliveries, recordOutcomes } from './deliveries.ts';
import { claimFairly, nextFairlyInMs } from './fair-claim.ts';
import { claimDue, finishEntries, nextDueInMs, releaseEntries } from './due-work.ts';
import { loadEndCallbacks, recordEndTold } from './end-callbacks.ts';
import { openCopyStore } from './held-copies.ts';
import { holdKeys, releaseKeys } from './key-leases.ts';
import { commitOffers } from './commit.ts';
import { findMessage, loadMessages } from './messages.ts';
import { loadGapCallbacks, recordGapTold } from './gap-callbacks.ts';
import { findEndedCopies, forgetCopies } from './mirror.ts';
import { settleEntry } from './settle.ts';
import { arriveInLanes, loadStreams, stepStreams } from './ordering.ts';
import { findSequence } from './sequences.ts';
import { rotateDays } from './retention.ts';
import { makeReady } from './scheduled.ts';
import { listDeadLetters } from './dead-letters.ts';
import { beginRedrive, findRedrive, stepRedrive } from './redrive.ts';
import { replayMessage } from './replay.ts';
import {
  changeSchedule,
  createSchedule,
  findSchedule,
  listSchedules,
  loadSchedules,
  moveSchedules,
} from './schedules.ts';
import { searchMessages } from './search.ts';
import { leaseWaiting, nextWaitingInMs } from './pulls.ts';
import type { Store } from './store.ts';
import { cancelScheduled, listScheduled, moveScheduled } from './waiting-messages.ts';
import { decideTransaction, findTransaction, recordCheck } from './transactions.ts';

/**
 * @param tenant whose tenure is asked for (tenure.ts) by what does not name its SET itself; without it, nobody's
 */
export function openStore(sql: Sql, tenant?: string): Store {
  return {
    commit: (offers, options) => commitOffers(sql, offers, options),
    settle: (settlement) => settleEntry(sql, settlement, tenant),
    makeReady: (entries, options) => makeReady(sql, entries, options),
    cancel: (request, set) => cancelScheduled(sql, request, set),
    move: (request, set) => moveScheduled(sql, request, set),
    listScheduled: (query, set) => listScheduled(sql, query, set),
    decide: (request, options) => decideTransaction(sql, request, options),
    findTransaction: (id) => findTransaction(sql, id),
    recordCheck: (check) => recordCheck(sql, check),
    load: (ids) => loadMessages(sql, ids),
    find: (id) => findMessage(sql, id),
    search: (set, search) => searchMessages(sql, set, search),
    deadLetters: (search) => listDeadLetters(sql, search),
    beginRedrive: (set, start) => beginRedrive(sql, set, start),
    findRedrive: (id) => findRedrive(sql, id),
    stepRedrive: (by, entry) => stepRedrive(sql, by, entry),
    replay: (set, request) => replayMessage(sql, set, request),
    createSchedule: (set, schedule) => createSchedule(sql, set, schedule),
    findSchedule: (id) => findSchedule(sql, id),
    listSchedules: (owner) => listSchedules(sql, owner),
    changeSchedule: (set, change) => changeSchedule(sql, set, change),
    loadSchedules: (entries) => loadSchedules(sql, entries),
    moveSchedules: (moves) => moveSchedules(sql, moves),
    audit: (options) => auditMessages(sql, options),
    settleFiltered: (set, verdicts) => settleFiltered(sql, set, verdicts),
    record: (outcomes, by) => recordOutcomes(sql, outcomes, by),
    lease: (options) => leaseWaiting(sql, options),
    nextWaitingInMs: (subscription) => nextWaitingInMs(sql, subscription),
    answer: (answers, by) => recordAnswers(sql, answers, by),
    loadEndCallbacks: (entries) => loadEndCallbacks(sql, entries),
    recordEndTold: (told, host) => recordEndTold(sql, told, host),
    holdKeys: (wanted, host) => holdKeys(sql, wanted, host),
    releaseKeys: (held, host) => releaseKeys(sql, held, host),
    deliveries: (keys) => loadDeliveries(sql, keys),
    arrive: (arrivals, set) => arriveInLanes(sql, arrivals, set),
    loadStreams: (leases) => loadStreams(sql, leases, tenant),
    gather: (arrivals, by) => gatherItems(sql, arrivals, by),
    rest: (lease, seen, afterMs) => restStream(sql, lease, seen, afterMs),
    missing: (lease) => loadMissing(sql, lease),
    changeAssembly: (change, host) => changeAssembly(sql, change, host),
    loadGapCallbacks: (entries) => loadGapCallbacks(sql, entries),
    recordGapTold: (told, host) => recordGapTold(sql, told, host),
    sequence: (owner, session) => findSequence(sql, owner, session),
    step: (steps, host) => stepStreams(sql, steps, host, tenant),
    endedCopies: (set, limit) => findEndedCopies(sql, set, limit),
    forgetCopies: (ids) => forgetCopies(sql, ids),
    ...openCopyStore(sql),
    rotate: (retention) => rotateDays(sql, retention),
    claim: ({ rooms, ...options }) =>
      rooms ? claimFairly(sql, { ...options, rooms }) : claimDue(sql, options),
    nextDueInMs: (set, kinds, rooms) =>
      rooms ? nextFairlyInMs(sql, { set, kinds, rooms }) : nextDueInMs(sql, set, kinds),
    finish: (leases) => finishEntries(sql, leases),
    release: (leases, afterMs) => releaseEntries(sql, leases, afterMs),
  };
}
