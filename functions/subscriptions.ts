/**
 * Subscriptions: created, listed, changed, deleted. Reads come from this edge's copy of the catalog, changes go to the
 * center, and the hosts of every SET follow. A signing secret is shown once, in the answer that made it.
 */
import type { Catalog } from '../shared/catalog/catalog.ts';
import type { CatalogChange } from '../shared/catalog/catalog-writer.ts';
import {
  openSubscription,
  sealSubscription,
  type CatalogDocument,
  type SubscriptionEntry,
  type TopicEntry,
} from '../shared/catalog/document.ts';
import { subscription as subscriptionSchema } from '../shared/catalog/subscription-schema.ts';
import { didYouMean } from '../shared/nearest-name.ts';
import { Problem } from '../shared/problem.ts';
import { calledUrls } from '../shared/subscriptions/called-urls.ts';
import type { Subscription } from '../shared/subscriptions/subscription.ts';
import { publicKeyOf } from '../shared/webhook/asymmetric-key.ts';
import { createWebhookSecret } from '../shared/webhook/signature.ts';
import { answerJson } from './answer.ts';
import { askFleet } from './ask-fleet.ts';
import { authenticate } from './authenticate.ts';
import {
  isRepeat,
  makerOf,
  maxEntries,
  pageOf,
  patched,
  readFields,
  refused,
  requireMatch,
  versionTag,
} from './catalog-resource.ts';
import type { Door } from './door.ts';
import { readJson, readSmallBody, readValue } from './json-body.ts';
import { refuseBadUrls } from './refuse-urls.ts';
import { readQuery } from './query-parameters.ts';
import { refuseFederation } from './refuse-federation.ts';
import type { Services } from './services.ts';
import {
  changeSubscriptionDescription,
  createSubscriptionDescription,
  deleteSubscriptionDescription,
  listSubscriptionsDescription,
  pauseRequest,
  pauseSubscriptionDescription,
  readSubscriptionDescription,
  removalQuery,
  resumeSubscriptionDescription,
  subscriptionQuery,
} from './subscriptions-description.ts';

export function subscriptionDoors(services: Services): readonly Door[] {
  return [
    create(services),
    list(services),
    read(services),
    change(services),
    remove(services),
    pause(services),
    resume(services),
  ];
}

function create(services: Services): Door {
  return {
    description: createSubscriptionDescription,
    async open({ request }) {
      const { owner } = await authenticate(request, 'manage', services);
      const fields = await readFields(request);
      const made = readNew(fields, owner, services);
      refuseFederatedQueues(made, await services.catalog.current());
      const madeBy = makerOf(request, fields);
      let kept: SubscriptionEntry = {
        ...sealSubscription(made, services.sealer),
        since: services.clock.nowMs(),
        ...(madeBy === undefined ? {} : { madeBy }),
      };
      await services.catalogWriter.write((document) => {
        const found = document.subscriptions.find(({ name }) => name === made.name);
        if (found && isRepeat(found, { owner, madeBy })) {
          kept = found;
          return 'as it should be';
        }
        return creationOf(document, kept);
      });
      const opened = openSubscription(kept, services.sealer);
      const [secret] = 'secrets' in fields ? [] : opened.secrets;
      const headers = { location: `/v1/subscriptions/${made.name}`, etag: versionTag(opened) };
      return answerJson(201, { ...shown(opened), ...(secret === undefined ? {} : { secret }) }, headers);
    },
  };
}

/** @throws Problem `invalid-request` */
function refuseFederatedQueues(
  { federate, topic }: Pick<SubscriptionEntry, 'federate' | 'topic'>,
  { sets, topics }: Pick<Catalog, 'sets' | 'topics'>,
): void {
  const scope = topics.get(topic)?.scope ?? 'anywhere';
  refuseFederation({ federated: federate, scope, at: '/federate' }, [...sets.values()]);
}

/** A subscription as it was asked for, with a secret of its own if none was given. */
function readNew(
  fields: Readonly<Record<string, unknown>>,
  owner: string,
  { webhookPolicy }: Services,
): SubscriptionEntry {
  if ('owner' in fields) throw refused('/owner', 'It is the owner of the API key: leave it out.');
  // Those that are pulled sign nothing but callbacks.
  const mayCall = fields['kind'] !== 'amqp';
  const secrets = mayCall && !('secrets' in fields) ? { secrets: [createWebhookSecret()] } : {};
  const made = readValue({ ...fields, ...secrets, owner }, subscriptionSchema);
  refuseBadUrls(calledUrls(made), webhookPolicy);
  return made;
}

/** @throws Problem `not-found`, `conflict` */
function creationOf(document: CatalogDocument, entry: SubscriptionEntry): CatalogChange {
  const topic = topicOf(document, entry);
  if (document.subscriptions.length >= maxEntries)
    throw new Problem('conflict', `There are ${maxEntries} subscriptions.`);
  const expected = [editOf(entry.name, null), { list: 'topics', name: topic.name, entry: topic } as const];
  const edit = editOf(entry.name, entry);
  const isDiscarded = document.discarded?.some(({ name }) => name === entry.name) === true;
  if (!isDiscarded) return { expected, edits: [edit] };
  return { expected, edits: [edit, { list: 'discarded', name: entry.name, entry: null }] };
}

/** @throws Problem `not-found` when the owner has no such topic */
function topicOf({ topics }: CatalogDocument, { owner, topic: name }: SubscriptionEntry): TopicEntry {
  const found = topics.find((each) => each.name === name);
  if (found?.owner === owner) return found;
  const own = topics.flatMap((each) => (each.owner === owner ? [each.name] : []));
  throw new Problem('not-found', `There is no topic "${name}".${didYouMean(name, own)}`);
}

function list(services: Services): Door {
  return {
    description: listSubscriptionsDescription,
    async open({ request, url }) {
      const { owner } = await authenticate(request, 'read', services);
      const asked = readQuery(url().searchParams, subscriptionQuery);
      const { subscriptions } = await services.catalog.current();
      const wanted = [...subscriptions.values()].filter(
        (each) => each.owner === owner && (asked.topic === undefined || each.topic === asked.topic),
      );
      const { page, ...next } = pageOf(wanted, asked);
      return answerJson(200, { subscriptions: page.map(shown), ...next });
    },
  };
}

function read(services: Services): Door {
  return {
    description: readSubscriptionDescription,
    async open({ request, parameter }) {
      const { owner } = await authenticate(request, 'read', services);
      const found = (await services.catalog.current()).subscriptions.get(parameter('name'));
      if (found?.owner !== owner) throw unknown(parameter('name'));
      return answerState(services, found);
    },
  };
}

function pause(services: Services): Door {
  return {
    description: pauseSubscriptionDescription,
    async open({ request, parameter }) {
      const { owner } = await authenticate(request, 'manage', services);
      const { reason } = readJson(await readSmallBody(request), pauseRequest);
      const meant = { name: parameter('name'), owner };
      const kept = await changeEntry(services, meant, ({ statusReason: _reason, ...before }) => ({
        ...before,
        status: 'paused',
        ...(reason === undefined ? {} : { statusReason: reason }),
      }));
      return answerState(services, kept);
    },
  };
}

function resume(services: Services): Door {
  return {
    description: resumeSubscriptionDescription,
    async open({ request, parameter }) {
      const { owner } = await authenticate(request, 'manage', services);
      const name = parameter('name');
      const kept = await changeEntry(services, { name, owner }, ({ statusReason: _reason, ...before }) => ({
        ...before,
        status: 'active',
      }));
      // A SET that does not answer is named in the answer; a resume may be repeated.
      await askFleet(services, (link) => link.enable(name));
      return answerState(services, kept);
    },
  };
}

function change(services: Services): Door {
  return {
    description: changeSubscriptionDescription,
    async open({ request, parameter }) {
      const { owner } = await authenticate(request, 'manage', services);
      const fields = await readFields(request);
      const name = parameter('name');
      const catalog = await services.catalog.current();
      const kept = await changeEntry(services, { name, owner, request }, (opened) => {
        const { since: _since, madeBy: _madeBy, retiring: _retiring, ...before } = opened;
        const after = readValue(patched(before, fields, fixedFields), subscriptionSchema);
        refuseBadUrls(calledUrls(after), services.webhookPolicy);
        refuseFederatedQueues(after, catalog);
        return after;
      });
      return answerSubscription(kept);
    },
  };
}

const fixedFields = {
  name: 'A subscription keeps its name.',
  owner: 'A subscription keeps its owner.',
  topic: 'A subscription keeps its topic: create another one.',
  kind: 'A subscription keeps its kind: create another one.',
  secrets: 'Secrets are rotated: POST …/rotate-secret.',
};

function remove(services: Services): Door {
  return {
    description: deleteSubscriptionDescription,
    async open({ request, parameter, url }) {
      const { owner } = await authenticate(request, 'manage', services);
      const { discard } = readQuery(url().searchParams, removalQuery);
      const name = parameter('name');
      let gone: SubscriptionEntry | undefined;
      await services.catalogWriter.write((document) => {
        gone = matching(document, { name, owner, request }, services);
        const expected = [editOf(name, gone)];
        if (discard !== 'true') return { expected, edits: [editOf(name, null)] };
        return {
          expected,
          edits: [editOf(name, null), { list: 'discarded', name, entry: { name } }],
        };
      });
      if (!gone) throw unknown(name);
      return answerJson(200, shown(openSubscription(gone, services.sealer)));
    },
  };
}

interface Meant {
  readonly name: string;
  readonly owner: string;
  /** Whose `If-Match` must name the version; without it, whatever is there. */
  readonly request?: Request;
}

/**
 * Changes one entry, which `after` makes of what is there; both with their secrets open.
 * @throws Problem `not-found`, `precondition-required`, `precondition-failed`, and what `after` throws
 */
export async function changeEntry(
  services: Services,
  meant: Meant,
  after: (before: SubscriptionEntry) => SubscriptionEntry,
): Promise<SubscriptionEntry> {
  let kept: SubscriptionEntry | undefined;
  await services.catalogWriter.write((document) => {
    const found = matching(document, meant, services);
    const before = openSubscription(found, services.sealer);
    const wanted = after(before);
    const isSameHearing = versionTag(hearingOf(wanted)) === versionTag(hearingOf(before));
    const since = isSameHearing ? found.since : services.clock.nowMs();
    const retiring = wanted.retiring ?? found.retiring;
    kept = {
      ...wanted,
      ...(retiring === undefined ? {} : { retiring }),
      ...(since === undefined ? {} : { since }),
      ...(found.madeBy === undefined ? {} : { madeBy: found.madeBy }),
    };
    const entry = sealSubscription(kept, services.sealer);
    return { expected: [editOf(found.name, found)], edits: [editOf(found.name, entry)] };
  });
  if (!kept) throw unknown(meant.name);
  return kept;
}

/** What decides which messages of its topic it gets. */
function hearingOf({ bindings, filter }: Subscription) {
  return { bindings, filter };
}

/** @throws Problem `not-found`, `precondition-required`, `precondition-failed` */
function matching(
  { subscriptions }: CatalogDocument,
  { name, owner, request }: Meant,
  { sealer }: Services,
): SubscriptionEntry {
  const found = subscriptions.find((each) => each.name === name);
  if (found?.owner !== owner) throw unknown(name);
  if (request) requireMatch(request, versionTag(openSubscription(found, sealer)));
  return found;
}

function editOf(name: string, entry: SubscriptionEntry | null) {
  return { list: 'subscriptions', name, entry } as const;
}

function unknown(name: string): Problem {
  return new Problem('not-found', `There is no subscription "${name}".`);
}

/** With what the SETs say of it. */
async function answerState(services: Services, entry: Subscription) {
  const { stops, waiting, backlog, incomplete } = await stopsOf(services, entry.name);
  const status = entry.status === 'active' && stops.length > 0 ? 'disabled' : entry.status;
  return answerJson(
    200,
    { ...shown(entry), status, stopped: stops, waiting, backlog, incomplete },
    { etag: versionTag(entry) },
  );
}

/** In which SETs a subscription was stopped, and why; where its webhook is left alone for a while; what waits for it. */
async function stopsOf(services: Services, name: string) {
  const { answers, incomplete } = await askFleet(services, async (link) => {
    const { set, ready, stops, waiting } = await link.stopped(name);
    const stop = stops[name];
    const breaker = waiting[name];
    return { stop: stop && { set, ...stop }, waits: breaker && { set, breaker }, backlog: { set, ready } };
  });
  return {
    stops: answers.flatMap(({ stop }) => stop ?? []),
    waiting: answers.flatMap(({ waits }) => waits ?? []),
    backlog: answers.map(({ backlog }) => backlog),
    incomplete,
  };
}

function answerSubscription(entry: Subscription) {
  return answerJson(200, shown(entry), { etag: versionTag(entry) });
}

/** Never the secrets, nor the values of headers, which may be some; and not whose it is: it is the caller's. */
function shown(entry: Subscription & Partial<Pick<SubscriptionEntry, 'since' | 'madeBy'>>) {
  const {
    owner: _owner,
    secrets,
    since: _since,
    madeBy: _madeBy,
    retiring: _retiring,
    headers,
    ...rest
  } = entry;
  const names = headers === undefined ? {} : { headerNames: Object.keys(headers) };
  const publicKeys = secrets.flatMap((each) => publicKeyOf(each) ?? []);
  return { kind: 'webhook' as const, ...rest, ...names, ...(publicKeys.length > 0 ? { publicKeys } : {}) };
}
