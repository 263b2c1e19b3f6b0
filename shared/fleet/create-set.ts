/**
 * From an empty RabbitMQ and an empty database to a SET that serves:
 *
 *   1. everything is looked at and nothing changed: id, number, management, vhost, user, databases
 *   2. databases are migrated; vhost, user, limits, policies, exchanges, queues, bindings are made
 *   3. RabbitMQ is spoken to as a host will: with the new user, over the URLs given
 *   4. the SET is written into the catalog with weight 0, and its number is taken for ever; databases get their copy
 *   5. the weight is raised: from now on messages come
 *
 * Nothing knows of the SET before 4, so whoever dies before leaves a vhost that says whose it is, and the same command
 * goes on from there with a new password. After 4, `setway sets apply` and `weight` go on.
 *
 * A broker URL without a user is *managed*: Setway makes vhost and user (a random password, no tags, its own names only)
 * and takes them away when the SET retires. One with a user is *given*: its vhost must be there and hold nothing of a SET.
 */
import { z } from 'zod';
import { set as setSchema } from '../catalog/seed.ts';
import {
  compileCatalog,
  sealSet,
  type CatalogDocument,
  type SetEntry,
  type SetNumber,
} from '../catalog/document.ts';
import { maxSetNumber } from '../identifier.ts';
import { Problem } from '../problem.ts';
import type { Management } from '../topology/management.ts';
import { expectWell, make, makeBroker } from './apply-set.ts';
import { descriptionOf } from './broker-shape.ts';
import { loginOf, readBrokerUrl, withLogin } from './broker-url.ts';
import { setEdit } from './change-set.ts';
import { driftOf } from './drift.ts';
import { findSet, type FleetParts } from './fleet.ts';
import { look, planSet, wantedShape } from './plan-set.ts';

/** What a person says of a new SET. */
export const newSetSchema = setSchema.omit({ status: true, share: true, access: true, number: true }).extend({
  id: z
    .string()
    .regex(
      /^[a-z][a-z0-9-]{0,62}$/,
      'must be lower-case letters, digits and dashes, at most 63, a letter first',
    )
    .refine((id) => id !== 'route', 'must not be "route": GET /v1/sets/route is something else'),
  number: setSchema.shape.number.optional(),
  managementUrl: z.url({ protocol: /^https?$/ }),
});

export type NewSet = z.infer<typeof newSetSchema>;

export interface Created {
  readonly set: string;
  readonly number: number;
  readonly vhost: string;
  readonly user: string;
  readonly version: string;
}

/**
 * @throws Problem `conflict` for an id, number, vhost, user or database that is taken; `invalid-settings` and
 * `broker-unavailable` for a management API that cannot be used; `database-unavailable`
 */
export async function createSet(parts: FleetParts, wanted: NewSet): Promise<Created> {
  const { document, version: catalogVersion } = await parts.center();
  const number = freeNumber(document, wanted);
  const management = parts.management(wanted.managementUrl);
  const { version } = await management.overview();
  const entry = entryOf(wanted, number, parts.newPassword);
  await expectVacantBroker(management, entry);
  await expectVacantDatabases(parts, document, entry);
  const catalog = compileCatalog(catalogVersion, document, {}, parts.sealer);
  const shape = await wantedShape(management, { entry, catalog });
  for (const url of entry.databaseUrls) await parts.database(url).migrate();
  parts.report(`${entry.databaseUrls.map((url) => parts.database(url).at).join(', ')}: migrated`);
  await makeBroker(management, shape, driftOf(shape, await look(management, shape)));
  parts.report(
    `RabbitMQ ${version}: vhost ${shape.vhost}, ${shape.topology.exchanges.length} exchanges, ${shape.topology.queues.length} queues, ${shape.topology.bindings.length} bindings`,
  );
  await parts.withBroker(entry.brokerUrls, (broker) => broker.provision(shape.topology));
  await writeEntry(parts, entry);
  await parts.spread();
  parts.report(`In the catalog as number ${number} with weight 0`);
  await settle(parts, entry.id);
  const { vhost, user } = loginOf(entry.brokerUrls[0] ?? '');
  return { set: entry.id, number, vhost, user, version };
}

/** What changed in the catalog meanwhile is made as well, and then nothing may be missing. */
async function settle(parts: FleetParts, id: string): Promise<void> {
  const found = await findSet(parts, id);
  await make(parts, found, await planSet(parts, found, 'quick'));
  await expectWell(parts, id);
}

/** @throws Problem `conflict` for an id or number that is or was another SET's */
function freeNumber(
  { sets, setNumbers = [] }: CatalogDocument,
  { id, number }: Pick<NewSet, 'id' | 'number'>,
): number {
  if (sets.some((each) => each.id === id))
    throw new Problem(
      'conflict',
      `There is a SET "${id}". To bring it to what the catalog wants: setway sets apply ${id}.`,
    );
  const owners = new Map([
    ...setNumbers.map(({ name, set }) => [Number(name), set] as const),
    ...sets.map((each) => [each.number, each.id] as const),
  ]);
  const next = Math.max(-1, ...owners.keys()) + 1;
  if (number === undefined && next > maxSetNumber)
    throw new Problem('conflict', `The last number, ${maxSetNumber}, is taken. Say which is free: --number.`);
  if (number === undefined) return next;
  const owner = owners.get(number);
  if (owner === undefined) return number;
  throw new Problem(
    'conflict',
    `The number ${number} is or was the SET "${owner}"'s, and ids of its messages carry it for ever. ${next} is free.`,
  );
}

function entryOf(
  { number: _number, ...wanted }: NewSet,
  number: number,
  newPassword: () => string,
): SetEntry {
  const logins = wanted.brokerUrls.map(readBrokerUrl);
  const [first = {}] = logins;
  if (logins.some(({ vhost, user }) => vhost !== first.vhost || user !== first.user))
    throw new Problem(
      'invalid-request',
      'All broker URLs of a SET are nodes of one cluster: the same user, the same vhost.',
    );
  const { vhost = `setway-${wanted.id}` } = first;
  const common = { ...wanted, number, weight: 0, status: 'active' } as const;
  if (first.user !== undefined) return { ...common, access: 'given' };
  // One user for one vhost, so one name for both.
  const login = { vhost, user: vhost, password: newPassword() };
  return { ...common, access: 'managed', brokerUrls: wanted.brokerUrls.map((url) => withLogin(url, login)) };
}

async function expectVacantBroker(management: Management, entry: SetEntry): Promise<void> {
  const { vhost, user } = loginOf(entry.brokerUrls[0] ?? '');
  const there = await management.vhosts.find(vhost);
  if (entry.access === 'given') return expectVacantVhost(management, vhost, there !== undefined);
  // Of an earlier attempt: it goes on here.
  if (there?.description === descriptionOf(entry.id)) return;
  if (there)
    throw new Problem(
      'conflict',
      `The vhost "${vhost}" is there and not this SET's. Name another one in --broker, or delete it if nobody needs it.`,
    );
  if (await management.users.find(user))
    throw new Problem(
      'conflict',
      `The user "${user}" is there and not this SET's. Name another vhost in --broker: the user is named after it.`,
    );
}

async function expectVacantVhost(management: Management, vhost: string, isThere: boolean): Promise<void> {
  if (!isThere)
    throw new Problem(
      'conflict',
      `There is no vhost "${vhost}". Create it for the user in --broker, or leave user and password out: then Setway makes both.`,
    );
  const [queues, exchanges] = await Promise.all([
    management.queues.list(vhost),
    management.exchanges.list(vhost),
  ]);
  const ours = [...queues, ...exchanges].filter(({ name }) => name.startsWith('setway.'));
  if (ours.length > 0)
    throw new Problem(
      'conflict',
      `The vhost "${vhost}" holds exchanges or queues of a SET (${ours[0]?.name}, ${ours.length} in all). Name an empty one.`,
    );
}

async function expectVacantDatabases(
  { database, sealer }: FleetParts,
  document: CatalogDocument,
  entry: SetEntry,
): Promise<void> {
  const taken = new Map(
    document.sets.flatMap(({ id, databaseUrls }) =>
      databaseUrls.map((sealed) => [database(sealer.open(sealed)).at, id] as const),
    ),
  );
  for (const url of entry.databaseUrls) {
    const one = database(url);
    const { at } = one;
    const owners = taken.has(at) ? [taken.get(at) ?? ''] : await one.tenants();
    if (owners.length > 0)
      throw new Problem(
        'conflict',
        `The database ${at} belongs to the SET "${owners.join('", "')}". A SET needs databases of its own: name an empty one.`,
      );
  }
}

async function writeEntry(parts: FleetParts, entry: SetEntry): Promise<void> {
  const kept = sealSet(entry, parts.sealer);
  const name = String(entry.number);
  await parts.writer.write((document) => {
    freeNumber(document, entry);
    return {
      expected: [setEdit(entry.id, null), { list: 'setNumbers', name, entry: null }],
      edits: [
        setEdit(entry.id, kept),
        { list: 'setNumbers', name, entry: { name, set: entry.id } satisfies SetNumber },
      ],
    };
  });
}
