/**
 * Transactions: prepare half messages, commit or roll them back, look one up.
 *
 * All messages of a transaction are one unit in one database; nobody gets any of them before the commit, and all of them
 * after it. They go before messages of normal priority. The first terminal decision wins: repeating it is answered 200,
 * the opposite 409.
 */
import { parseDurationMs } from '../shared/duration.ts';
import { parseTransactionId, transactionOf } from '../shared/identifier.ts';
import { readDraft } from '../shared/message/draft.ts';
import type { Draft } from '../shared/message/message.ts';
import { readStrictJson } from '../shared/message/strict-json.ts';
import { didYouMean } from '../shared/nearest-name.ts';
import { asProblem, Problem, type Fault } from '../shared/problem.ts';
import type { PublishedState } from '../shared/publish/publisher.ts';
import type { Decision, Preparation, TransactionRecord } from '../shared/sets/set-link.ts';
import { checkWebhookUrl } from '../shared/webhook/address.ts';
import { answerJson } from './answer.ts';
import { authenticate } from './authenticate.ts';
import { decideTransaction, findTransaction } from './decide-transaction.ts';
import { refuseBadCallbacks } from './callbacks.ts';
import type { Door } from './door.ts';
import { takeQuota } from './publish-quota.ts';
import { readPublishRequest } from './publish-request.ts';
import { refuseUnsigned } from './refuse-unsigned.ts';
import type { Services } from './services.ts';
import {
  commitDescription,
  prepareDescription,
  prepareSchema,
  readTransactionDescription,
  rollbackDescription,
  type PrepareRequest,
} from './transactions-description.ts';

export function transactionDoors(services: Services): readonly Door[] {
  return [
    prepare(services),
    decide(services, 'COMMITTED'),
    decide(services, 'ROLLED_BACK'),
    readTransaction(services),
  ];
}

function prepare(services: Services): Door {
  return {
    description: prepareDescription,
    async open(visit) {
      const { key, body, context } = await readPublishRequest(services, visit, services.limits.maxBodyBytes);
      const { drafts, preparation } = readPrepare(readStrictJson(body), services);
      const [{ topic } = { topic: '' }] = drafts;
      if (preparation.checkUrl !== undefined)
        await refuseUnsigned(services, { field: 'checkUrl', topic, owner: key.owner });
      refuseBadCallbacks(drafts, services.webhookPolicy);
      const quota = await takeQuota(services, key, drafts);
      const published = await services.publisher.publishTogether(
        drafts,
        { ...context, waitMs: 0 },
        { transaction: preparation },
      );
      const [first] = published;
      if (!first) throw new Problem('internal', 'A prepare was answered without a message.');
      const id = transactionOf(first.id);
      const messages = published.map((each) => ({ id: each.id }));
      const { set, route, duplicate } = first;
      const answer = { id, state: stateOf(first.state), messages, set, route, duplicate };
      return answerJson(202, answer, { location: `/v1/transactions/${id}`, ...quota });
    },
  };
}

type ShownState = 'prepared' | 'committed' | 'rolled_back' | 'check_exhausted';

/** A prepare that is repeated may meet a transaction that was decided meanwhile. */
function stateOf(state: PublishedState): ShownState {
  return state === 'prepared' || state === 'rolled_back' || state === 'check_exhausted' ? state : 'committed';
}

function decide(services: Services, decision: Decision): Door {
  return {
    description: decision === 'COMMITTED' ? commitDescription : rollbackDescription,
    async open({ request, parameter }) {
      const { owner } = await authenticate(request, 'publish', services);
      const id = parseTransactionId(parameter('id'));
      const transaction = await decideTransaction({ id, owner, decision, by: 'producer' }, services);
      if (!transaction) throw nothing(id);
      if (transaction.state === decision) return answerJson(200, shown(transaction));
      throw new Problem(
        'conflict',
        `This transaction is ${shown(transaction).state} since ${transaction.decidedAt}: the first decision stands.`,
      );
    },
  };
}

function readTransaction(services: Services): Door {
  return {
    description: readTransactionDescription,
    async open({ request, parameter }) {
      const { owner } = await authenticate(request, 'read', services);
      const id = parseTransactionId(parameter('id'));
      const transaction = await findTransaction(id, services);
      // Somebody else's is told apart from none by nothing.
      if (transaction?.owner !== owner) throw nothing(id);
      return answerJson(200, shown(transaction));
    },
  };
}

function nothing(id: string): Problem {
  return new Problem('not-found', `There is no transaction ${id}.`);
}

function shown(transaction: TransactionRecord) {
  const { owner: _, state, ...rest } = transaction;
  return { ...rest, state: state.toLowerCase() as ShownState };
}

interface Prepare {
  readonly drafts: readonly Draft[];
  readonly preparation: Omit<Preparation, 'id'>;
}

/** RocketMQ's brokers wait as long (`transactionTimeOut`). */
const defaultFirstCheckMs = 6_000;
const leastFirstCheckMs = 1_000;
const mostFirstCheckMs = 86_400_000;

function readPrepare(value: unknown, services: Services): Prepare {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Problem('invalid-json', 'The body is JSON but not an object. Send {"messages": […]}.');
  }
  const parsed = prepareSchema.safeParse(value);
  if (!parsed.success) throw refused(parsed.error.issues.flatMap(faultsOf));
  const faults: Fault[] = [];
  const nowMs = services.clock.nowMs();
  const drafts = parsed.data.messages.flatMap((message, index) =>
    readMessage(message, { index, nowMs }, faults),
  );
  const firstCheckAfterMs = readFirstCheck(parsed.data, faults);
  if (faults.length > 0) throw refused(faults);
  const { checkUrl } = parsed.data;
  if (checkUrl !== undefined) checkWebhookUrl(checkUrl, services.webhookPolicy);
  return { drafts, preparation: { firstCheckAfterMs, ...(checkUrl === undefined ? {} : { checkUrl }) } };
}

interface Reading {
  readonly index: number;
  readonly nowMs: number;
}

/** A message of a transaction is stored, so it has no mode; and it goes before the others. */
function readMessage(message: unknown, { index, nowMs }: Reading, faults: Fault[]): Draft[] {
  const at = (pointer: string) => `/messages/${index}${pointer}`;
  if (typeof message === 'object' && message !== null && 'mode' in message) {
    faults.push({ at: at('/mode'), detail: 'Messages of a transaction have no mode.' });
    return [];
  }
  try {
    return [{ ...readDraft(message, nowMs), priority: 'high' }];
  } catch (error) {
    const problem = asProblem(error);
    const own = problem.extras.faults ?? [{ at: '', detail: problem.message }];
    faults.push(...own.map(({ at: pointer, detail }) => ({ at: at(pointer), detail })));
    return [];
  }
}

function readFirstCheck({ firstCheckAfter }: PrepareRequest, faults: Fault[]): number {
  if (firstCheckAfter === undefined) return defaultFirstCheckMs;
  const at = '/firstCheckAfter';
  try {
    const ms = parseDurationMs(firstCheckAfter, { at, maxMs: mostFirstCheckMs });
    if (ms < leastFirstCheckMs) faults.push({ at, detail: 'At least 1 second.' });
    return ms;
  } catch (error) {
    faults.push(...(asProblem(error).extras.faults ?? []));
    return defaultFirstCheckMs;
  }
}

type Issue = NonNullable<ReturnType<typeof prepareSchema.safeParse>['error']>['issues'][number];

function faultsOf(issue: Issue): Fault[] {
  const at = issue.path.map((part) => `/${String(part)}`).join('');
  if (issue.code !== 'unrecognized_keys') return [{ at, detail: issue.message }];
  const known = Object.keys(prepareSchema.shape);
  return issue.keys.map((name) => ({
    at: `${at}/${name.slice(0, 64)}`,
    detail: `There is no such field.${didYouMean(name, known)}`,
  }));
}

function refused(faults: readonly Fault[]): Problem {
  const [first] = faults;
  const more = faults.length > 1 ? ` (and ${faults.length - 1} more, see errors)` : '';
  return new Problem('invalid-request', `${first?.at ?? ''}: ${first?.detail ?? ''}${more}`, {
    faults: faults.slice(0, 20),
  });
}
