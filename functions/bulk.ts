/**
 * Bulk: many messages that have nothing to do with each other, in one request.
 *
 *   body arrives ─▶ cut into items ─▶ strict JSON ─▶ draft | its fault     item by item, as they come
 *   body is over ─▶ route each ─▶ one call per SET, hence one group commit ─▶ a result per item, in order
 *
 * An array that is no JSON is refused whole; a bad line, or an item that breaks a rule, fails alone. Nothing is
 * published before the whole body is here, so a client that breaks off has published nothing. When every item fails
 * because no SET can be reached, the answer is that 503 itself: the request may be sent again as it is.
 */
import { createHash } from 'node:crypto';
import { readDraft } from '../shared/message/draft.ts';
import { cutArray, cutLines, type ItemSink } from '../shared/message/json-items.ts';
import type { Draft } from '../shared/message/message.ts';
import { readStrictJson } from '../shared/message/strict-json.ts';
import { asProblem, Problem } from '../shared/problem.ts';
import type { Published } from '../shared/publish/publisher.ts';
import type { WebhookUrlPolicy } from '../shared/webhook/address.ts';
import { answerJson, type Answer } from './answer.ts';
import { authenticate } from './authenticate.ts';
import { bulkDescription, bulkTypes, maxBulkMessages } from './bulk-description.ts';
import { refuseBadCallback } from './callbacks.ts';
import type { Door } from './door.ts';
import { problemDocument } from './problem-response.ts';
import { appliedPreference, publishContext } from './publish-context.ts';
import { takeQuota } from './publish-quota.ts';
import { mediaTypeOf, readPieces, refuseEncodedBody } from './request-body.ts';
import type { Services } from './services.ts';

export function bulkDoors(services: Services): readonly Door[] {
  return [publishBulk(services)];
}

function publishBulk(services: Services): Door {
  return {
    description: bulkDescription,
    async open(visit) {
      const { request } = visit;
      const key = await authenticate(request, 'publish', services);
      refuseEncodedBody(request);
      const { items, digest } = await readItems(services, request);
      const addBody = (hash: { update(data: Uint8Array): unknown }): void => void hash.update(digest);
      const context = publishContext(services, { visit, key, addBody });
      const drafts = items.filter((item): item is Draft => !(item instanceof Problem));
      const quota = await takeQuota(services, key, drafts);
      const taken = [...(await services.publisher.publishMany(drafts, context))].values();
      const results = items.map((item) => (item instanceof Problem ? item : resultOf(taken.next().value)));
      return answerResults(results, { ...appliedPreference(request), ...quota });
    },
  };
}

function resultOf(result: Published | Problem | undefined): Published | Problem {
  return result ?? new Problem('internal', 'A message got no result.');
}

type Item = Draft | Problem;

interface Items {
  readonly items: readonly Item[];
  /** SHA-256 of the body as it came. */
  readonly digest: Uint8Array;
}

async function readItems({ clock, limits, webhookPolicy }: Services, request: Request): Promise<Items> {
  const items: Item[] = [];
  const nowMs = clock.nowMs();
  const form = mediaTypeOf(request, bulkTypes) === 'application/json' ? 'array' : 'lines';
  const reading: ItemReading = { nowMs, form, policy: webhookPolicy };
  const sink: ItemSink = {
    maxItemBytes: limits.maxBodyBytes,
    onItem(item) {
      if (items.length === maxBulkMessages) throw wrongAmount(`At most ${maxBulkMessages}`);
      items.push(item === 'too-long' ? tooLong(limits.maxBodyBytes) : readItem(item, reading));
    },
  };
  const cutter = form === 'array' ? cutArray(sink) : cutLines(sink);
  const hash = createHash('sha256');
  for await (const piece of readPieces(request, limits.maxBulkBytes)) {
    hash.update(piece);
    cutter.push(piece);
  }
  cutter.end();
  if (items.length === 0) throw wrongAmount('At least 1');
  return { items, digest: hash.digest() };
}

interface ItemReading {
  readonly nowMs: number;
  readonly form: 'array' | 'lines';
  readonly policy: WebhookUrlPolicy;
}

/** @throws Problem `invalid-json` when an item of an array is none: then neither is the array */
function readItem(bytes: Uint8Array, { nowMs, form, policy }: ItemReading): Item {
  let isJson = false;
  try {
    const value = readStrictJson(bytes);
    isJson = true;
    const draft = readDraft(value, nowMs);
    refuseBadCallback(draft.callback, policy);
    return draft;
  } catch (error) {
    const problem = asProblem(error);
    if (form === 'array' && !isJson && problem.kind === 'invalid-json') throw problem;
    return problem;
  }
}

function tooLong(maxBodyBytes: number): Problem {
  return new Problem('too-large', `One message has at most ${maxBodyBytes} bytes.`);
}

function wrongAmount(amount: string): Problem {
  const detail = `${amount} messages in one request.`;
  return new Problem('invalid-request', detail, { faults: [{ at: '', detail }] });
}

/** @throws Problem when nothing was taken because nobody could be reached */
function answerResults(
  results: readonly (Published | Problem)[],
  headers: Readonly<Record<string, string>>,
): Answer {
  const [first] = results;
  const isSame = (result: Published | Problem): boolean =>
    first instanceof Problem && result instanceof Problem && result.kind === first.kind;
  if (first instanceof Problem && first.status === 503 && results.every(isSame)) throw first;
  return answerJson(202, { results: results.map(shown) }, headers);
}

function shown(result: Published | Problem): object {
  if (result instanceof Problem) return { status: result.status, problem: problemDocument(result) };
  const { id, state, set, route, duplicate } = result;
  return { status: 202, id, state, set, route, duplicate };
}
