/** Topics: created, listed, changed, deleted. Reads come from this edge's copy of the catalog, changes go to the center. */
import type { CatalogChange } from '../shared/catalog/catalog-writer.ts';
import { openTopic, type CatalogDocument, type TopicEntry } from '../shared/catalog/document.ts';
import { topic as topicSchema } from '../shared/catalog/topic-schema.ts';
import { Problem } from '../shared/problem.ts';
import type { Topic } from '../shared/subscriptions/subscription.ts';
import { answerJson } from './answer.ts';
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
import { readValue } from './json-body.ts';
import { readQuery } from './query-parameters.ts';
import { refuseFederation } from './refuse-federation.ts';
import type { Services } from './services.ts';
import {
  changeTopicDescription,
  createTopicDescription,
  deleteTopicDescription,
  listTopicsDescription,
  pageQuery,
  readTopicDescription,
} from './topics-description.ts';

export function topicDoors(services: Services): readonly Door[] {
  return [create(services), list(services), read(services), change(services), remove(services)];
}

function create(services: Services): Door {
  return {
    description: createTopicDescription,
    async open({ request }) {
      const { owner } = await authenticate(request, 'manage', services);
      const fields = await readFields(request);
      if ('owner' in fields) throw refused('/owner', 'It is the owner of the API key: leave it out.');
      const made: TopicEntry = readValue({ ...fields, owner }, topicSchema);
      const madeBy = makerOf(request, fields);
      let kept: TopicEntry = sealed({ ...made, ...(madeBy === undefined ? {} : { madeBy }) }, services);
      await services.catalogWriter.write(({ sets, topics }) => {
        const found = topics.find(({ name }) => name === made.name);
        if (found && isRepeat(found, { owner, madeBy })) {
          kept = found;
          return 'as it should be';
        }
        refuseFederation(replicationOf(made), sets);
        if (topics.length >= maxEntries) throw new Problem('conflict', `There are ${maxEntries} topics.`);
        return { expected: [editOf(made.name, null)], edits: [editOf(made.name, kept)] };
      });
      return answerTopic(201, openTopic(kept, services.sealer), { location: `/v1/topics/${made.name}` });
    },
  };
}

function list(services: Services): Door {
  return {
    description: listTopicsDescription,
    async open({ request, url }) {
      const { owner } = await authenticate(request, 'read', services);
      const asked = readQuery(url().searchParams, pageQuery);
      const { topics } = await services.catalog.current();
      const { page, ...next } = pageOf(
        [...topics.values()].filter((each) => each.owner === owner),
        asked,
      );
      return answerJson(200, { topics: page.map(shown), ...next });
    },
  };
}

function read(services: Services): Door {
  return {
    description: readTopicDescription,
    async open({ request, parameter }) {
      const { owner } = await authenticate(request, 'read', services);
      const found = (await services.catalog.current()).topics.get(parameter('name'));
      if (found?.owner !== owner) throw unknown(parameter('name'));
      return answerTopic(200, found);
    },
  };
}

function change(services: Services): Door {
  return {
    description: changeTopicDescription,
    async open({ request, parameter }) {
      const { owner } = await authenticate(request, 'manage', services);
      const fields = await readFields(request);
      const name = parameter('name');
      let kept: TopicEntry | undefined;
      await services.catalogWriter.write((document) => {
        const found = matching(document, { name, owner, request }, services);
        const { madeBy: _madeBy, ...before } = openTopic(found, services.sealer);
        const wanted = patched(withoutEmpty(before), fields, {
          name: 'A topic keeps its name.',
          owner: 'A topic keeps its owner.',
        });
        const after = readValue(wanted, topicSchema);
        refuseFederation(replicationOf(after), document.sets);
        kept = sealed(
          { ...after, ...(found.madeBy === undefined ? {} : { madeBy: found.madeBy }) },
          services,
        );
        const edit = changeOf(found, kept);
        if (after.type === found.type) return edit;
        refuseHeard(document, name, 'Its type cannot change');
        return { ...edit, unheard: name };
      });
      if (!kept) throw unknown(name);
      return answerTopic(200, openTopic(kept, services.sealer));
    },
  };
}

function remove(services: Services): Door {
  return {
    description: deleteTopicDescription,
    async open({ request, parameter }) {
      const { owner } = await authenticate(request, 'manage', services);
      const name = parameter('name');
      let gone: TopicEntry | undefined;
      await services.catalogWriter.write((document) => {
        const found = matching(document, { name, owner, request }, services);
        refuseHeard(document, name, 'It cannot be deleted');
        gone = found;
        return { ...changeOf(found, null), unheard: name };
      });
      if (!gone) throw unknown(name);
      return answerJson(200, shown(gone));
    },
  };
}

interface Meant {
  readonly name: string;
  readonly owner: string;
  readonly request: Request;
}

/** @throws Problem `not-found`, `precondition-required`, `precondition-failed` */
function matching(
  { topics }: CatalogDocument,
  { name, owner, request }: Meant,
  { sealer }: Services,
): TopicEntry {
  const found = topics.find((each) => each.name === name);
  if (found?.owner !== owner) throw unknown(name);
  requireMatch(request, versionTag(openTopic(found, sealer)));
  return found;
}

function refuseHeard({ subscriptions }: CatalogDocument, topic: string, what: string): void {
  const heardBy = subscriptions.filter((each) => each.topic === topic);
  if (heardBy.length === 0) return;
  const names = heardBy.slice(0, 3).map(({ name }) => `"${name}"`);
  const more = heardBy.length > names.length ? ` and ${heardBy.length - names.length} more` : '';
  throw new Problem(
    'conflict',
    `${what} while it has subscriptions (${names.join(', ')}${more}). Delete them first.`,
  );
}

function replicationOf({ replicate, scope }: TopicEntry) {
  return { federated: replicate, scope, at: '/replicate' };
}

function changeOf(before: TopicEntry, after: TopicEntry | null): CatalogChange {
  return { expected: [editOf(before.name, before)], edits: [editOf(before.name, after)] };
}

function editOf(name: string, entry: TopicEntry | null) {
  return { list: 'topics', name, entry } as const;
}

function sealed(entry: TopicEntry, { sealer }: Services): TopicEntry {
  const { secrets, ...rest } = entry;
  return secrets === undefined ? rest : { ...rest, secrets: secrets.map((each) => sealer.seal(each)) };
}

/** An opened topic says "none" by an empty list, which nobody may write. */
function withoutEmpty({ secrets, ...rest }: TopicEntry): Partial<TopicEntry> {
  return secrets === undefined || secrets.length === 0 ? rest : { ...rest, secrets };
}

function unknown(name: string): Problem {
  return new Problem('not-found', `There is no topic "${name}".`);
}

function answerTopic(status: number, entry: Topic, headers: Readonly<Record<string, string>> = {}) {
  return answerJson(status, shown(entry), { ...headers, etag: versionTag(entry) });
}

/** Never the secrets, and not whose it is: it is the caller's. */
function shown({ name, type, scope, rules, publishLimit, replicate }: Omit<Topic, 'secrets'>) {
  return {
    name,
    type,
    scope,
    rules,
    ...(publishLimit === undefined ? {} : { publishLimit }),
    ...(replicate === undefined ? {} : { replicate }),
  };
}
