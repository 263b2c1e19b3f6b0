/**
 * API keys: made, listed, changed, revoked, deleted, by whoever may manage, for the same owner.
 *
 * A key makes no key that may more than itself: scopes and place are taken from its own, none lives longer than the key
 * that says so, and one whose publishing is limited makes none. The text of a key is answered once and kept nowhere, so a repeated request makes another key: after
 * a lost answer, list the keys and revoke the one that nobody has. Edges follow within the age of their catalog.
 */
import { mintApiKey, type ApiKey } from '../shared/catalog/api-key.ts';
import type { CatalogChange } from '../shared/catalog/catalog-writer.ts';
import type { KeyEntry } from '../shared/catalog/document.ts';
import { Problem } from '../shared/problem.ts';
import { answerJson } from './answer.ts';
import { authenticate } from './authenticate.ts';
import { maxEntries, pageOf, readFields, refused } from './catalog-resource.ts';
import type { Door } from './door.ts';
import { readValue } from './json-body.ts';
import {
  changeKeyDescription,
  createKeyDescription,
  deleteKeyDescription,
  keyPatch,
  keyRequest,
  listKeysDescription,
  readKeyDescription,
  revokeKeyDescription,
} from './keys-description.ts';
import { readQuery } from './query-parameters.ts';
import type { Services } from './services.ts';
import { pageQuery } from './topics-description.ts';

export function keyDoors(services: Services): readonly Door[] {
  return [
    create(services),
    list(services),
    read(services),
    change(services),
    revoke(services),
    remove(services),
  ];
}

function create(services: Services): Door {
  return {
    description: createKeyDescription,
    async open({ request }) {
      const maker = await authenticate(request, 'manage', services);
      const wanted = readValue(await readFields(request), keyRequest);
      refuseMore(maker, wanted);
      const { scopes, maySetPlace = false, expiresAt = maker.expiresAt } = wanted;
      refuseLonger(maker, expiresAt);
      const { text, key } = mintApiKey({ owner: maker.owner, scopes, maySetPlace, expiresAt });
      const entry: KeyEntry = {
        ...key,
        scopes,
        ...(wanted.publishLimit === undefined ? {} : { publishLimit: wanted.publishLimit }),
      };
      await services.catalogWriter.write(({ keys }) => {
        if (keys.length >= maxEntries)
          throw new Problem('conflict', `There are ${maxEntries} keys. Delete some.`);
        return changeOf(key.id, null, entry);
      });
      return answerJson(201, { ...shown(entry), key: text }, { location: `/v1/keys/${key.id}` });
    },
  };
}

/** @throws Problem `forbidden`, `invalid-request` */
function refuseMore(
  maker: ApiKey,
  { scopes, maySetPlace }: { readonly scopes: readonly string[]; readonly maySetPlace?: boolean | undefined },
): void {
  if (maker.publishLimit)
    throw new Problem(
      'forbidden',
      'A key whose publishing is limited makes no keys: each would have a limit anew.',
    );
  const missing = scopes.filter((scope) => !maker.scopes.some((own) => own === scope));
  if (missing.length > 0)
    throw refused('/scopes', `The key that makes it has no scope ${missing.join(', ')} itself.`);
  if (maySetPlace === true && !maker.maySetPlace)
    throw refused('/maySetPlace', 'The key that makes it may not say where it is itself.');
}

/** @throws Problem `invalid-request` */
function refuseLonger(maker: ApiKey, expiresAt: string | null): void {
  if (maker.expiresAt === null) return;
  if (expiresAt !== null && Date.parse(expiresAt) <= Date.parse(maker.expiresAt)) return;
  throw refused('/expiresAt', `The key that says so expires itself at ${maker.expiresAt}.`);
}

function list(services: Services): Door {
  return {
    description: listKeysDescription,
    async open({ request, url }) {
      const { owner } = await authenticate(request, 'manage', services);
      const asked = readQuery(url().searchParams, pageQuery);
      const { keys } = await services.catalog.current();
      const own = [...keys.values()].filter((key) => key.owner === owner);
      const { page, ...next } = pageOf(
        own.map((key) => ({ ...key, name: key.id })),
        asked,
      );
      return answerJson(200, { keys: page.map(shown), ...next });
    },
  };
}

function read(services: Services): Door {
  return {
    description: readKeyDescription,
    async open({ request, parameter }) {
      const { owner } = await authenticate(request, 'manage', services);
      const found = (await services.catalog.current()).keys.get(parameter('id'));
      if (found?.owner !== owner) throw unknown(parameter('id'));
      return answerJson(200, shown(found));
    },
  };
}

function change(services: Services): Door {
  return {
    description: changeKeyDescription,
    async open({ request, parameter }) {
      const maker = await authenticate(request, 'manage', services);
      const { expiresAt } = readValue(await readFields(request), keyPatch);
      refuseLonger(maker, expiresAt);
      return edit(services, { owner: maker.owner, id: parameter('id') }, (found) => ({
        ...found,
        expiresAt,
      }));
    },
  };
}

function revoke(services: Services): Door {
  return {
    description: revokeKeyDescription,
    async open({ request, parameter }) {
      const { owner } = await authenticate(request, 'manage', services);
      const revokedAt = new Date(services.clock.nowMs()).toISOString();
      return edit(services, { owner, id: parameter('id') }, (found) => ({
        ...found,
        revokedAt: found.revokedAt ?? revokedAt,
      }));
    },
  };
}

function remove(services: Services): Door {
  return {
    description: deleteKeyDescription,
    async open({ request, parameter }) {
      const { owner } = await authenticate(request, 'manage', services);
      return edit(services, { owner, id: parameter('id') }, () => null);
    },
  };
}

interface Meant {
  readonly owner: string;
  readonly id: string;
}

/** @throws Problem `not-found` */
async function edit(
  services: Services,
  { owner, id }: Meant,
  after: (found: KeyEntry) => KeyEntry | null,
): Promise<ReturnType<typeof answerJson>> {
  let now: KeyEntry | undefined;
  await services.catalogWriter.write(({ keys }) => {
    const found = keys.find((key) => key.id === id);
    if (found?.owner !== owner) throw unknown(id);
    const wanted = after(found);
    now = wanted ?? found;
    return changeOf(id, found, wanted);
  });
  if (!now) throw unknown(id);
  return answerJson(200, shown(now));
}

function changeOf(id: string, before: KeyEntry | null, after: KeyEntry | null): CatalogChange {
  return {
    expected: [{ list: 'keys', name: id, entry: before }],
    edits: [{ list: 'keys', name: id, entry: after }],
  };
}

function unknown(id: string): Problem {
  return new Problem('not-found', `There is no key "${id.slice(0, 64)}".`);
}

/** Never the hash of its secret, and not whose it is: it is the caller's. */
function shown({ id, scopes, maySetPlace, expiresAt, revokedAt, publishLimit }: Omit<ApiKey, 'secretHash'>) {
  const limit = publishLimit === undefined ? {} : { publishLimit };
  return { id, scopes, maySetPlace, expiresAt, revokedAt, ...limit };
}
