/**
 * The seed: the catalog as a person writes it, in plain JSON. `setway apply seed.json` checks it, seals its secrets,
 * and writes it as the next version of the catalog.
 */
import { z } from 'zod';
import { Problem } from '../problem.ts';
import { name, owner, publishLimit } from './name-schemas.ts';
import { subscription } from './subscription-schema.ts';
import { topic } from './topic-schema.ts';
import { federationFaults } from '../subscriptions/replication.ts';

export const set = z.strictObject({
  id: name,
  number: z.int().min(0).max(4095),
  kind: z.enum(['center', 'unit']),
  place: z.strictObject({ latitude: z.number().min(-90).max(90), longitude: z.number().min(-180).max(180) }),
  weight: z.number().min(0).max(1000).default(1),
  status: z.enum(['active', 'draining', 'fenced']).default('active'),
  /** Part of the traffic that nothing binds to it which it may get: below 1 while it is let in slowly. */
  share: z.number().min(0.0001).max(1).optional(),
  brokerUrls: z
    .array(z.url({ protocol: /^amqps?$/ }))
    .min(1)
    .max(16),
  databaseUrls: z
    .array(z.url({ protocol: /^postgres(ql)?$/ }))
    .min(1)
    .max(64),
  /** RabbitMQ's management API with its administrator: what `setway sets` looks and works through. Kept sealed. */
  managementUrl: z.url({ protocol: /^https?$/ }).optional(),
  /** Messages per second it takes without falling behind. Loaded beyond 0.8 of it, it passes on what nothing binds to it. */
  capacity: z.int().min(1).max(1_000_000).optional(),
  /** What `reconcile-topology` does when RabbitMQ is not what it should be; without it, it reports. */
  drift: z.enum(['report', 'repair']).optional(),
  /** `automatic`: siblings take over when no host of it has beaten for the expiry time; without it, when told to. */
  takeOver: z.enum(['manual', 'automatic']).optional(),
  /** `away`: it was taken over without its database; said by the take-over. */
  database: z.enum(['there', 'away']).optional(),
  /** `managed`: Setway made vhost and user itself, and takes them away when the SET retires. Without it: given. */
  access: z.enum(['given', 'managed']).optional(),
});

const bucketRange = z.strictObject({
  from: z.int().min(0).max(16_383),
  to: z.int().min(0).max(16_383),
  set: name,
  epoch: z.int().min(1).default(1),
});

const pin = z.strictObject({ topic: name.optional(), key: z.string().min(1).max(255), set: name });

const apiKey = z.strictObject({
  id: z.string(),
  owner,
  secretHash: z
    .string()
    .regex(
      /^[0-9a-f]{64}$/,
      'must be the SHA-256 of the secret, in hex: make a key with `setway keys create`',
    ),
  scopes: z.array(z.enum(['publish', 'read', 'consume', 'manage'])).min(1),
  maySetPlace: z.boolean().default(false),
  expiresAt: z.iso.datetime().nullable().default(null),
  revokedAt: z.iso.datetime().nullable().default(null),
  publishLimit: publishLimit.optional(),
});

/** A user's database with a `setway_outbox` (shared/outbox/outbox.ts). */
const outbox = z.strictObject({
  name,
  owner,
  databaseUrl: z.url({ protocol: /^postgres(ql)?$/ }),
  table: z
    .string()
    .regex(/^[a-z_][a-z0-9_]{0,50}(?:\.[a-z_][a-z0-9_]{0,50})?$/, 'must be a plain table name in lower case')
    .optional(),
});

const seedSchema = z.strictObject({
  sets: z.array(set).min(1).max(1000),
  topics: z.array(topic).max(10_000).default([]),
  subscriptions: z.array(subscription).max(10_000).default([]),
  buckets: z.array(bucketRange).max(16_384).default([]),
  pins: z.array(pin).max(100_000).default([]),
  keys: z.array(apiKey).max(10_000).default([]),
  outboxes: z.array(outbox).max(1_000).default([]),
});

export type Seed = z.infer<typeof seedSchema>;
export type SeedInput = z.input<typeof seedSchema>;

/**
 * @throws Problem `invalid-request` that lists every fault with its JSON pointer
 * @example parseSeed(JSON.parse(await readFile('seed.json', 'utf8')))
 */
export function parseSeed(value: unknown): Seed {
  const parsed = seedSchema.safeParse(value);
  if (!parsed.success) {
    throw faulty(
      parsed.error.issues.map((issue) => ({ at: `/${issue.path.join('/')}`, detail: issue.message })),
    );
  }
  const faults = crossFaults(parsed.data);
  if (faults.length > 0) throw faulty(faults);
  return parsed.data;
}

interface SeedFault {
  readonly at: string;
  readonly detail: string;
}

function faulty(faults: readonly SeedFault[]): Problem {
  const lines = faults.map(({ at, detail }) => `  ${at}: ${detail}`);
  return new Problem('invalid-request', `The catalog has faults:\n${lines.join('\n')}`, { faults });
}

/** What one entry says of another: names that are taken twice, and names that do not exist. */
function crossFaults(seed: Seed): readonly SeedFault[] {
  const sets = new Set(seed.sets.map((entry) => entry.id));
  const topics = new Map(seed.topics.map((entry) => [entry.name, entry]));
  const unknownSet = (at: string, id: string) =>
    sets.has(id) ? [] : [{ at, detail: `There is no SET "${id}".` }];
  return [
    ...twice(
      'sets',
      'id',
      seed.sets.map((entry) => entry.id),
    ),
    ...twice(
      'sets',
      'number',
      seed.sets.map((entry) => entry.number),
    ),
    ...twice(
      'topics',
      'name',
      seed.topics.map((entry) => entry.name),
    ),
    ...twice(
      'subscriptions',
      'name',
      seed.subscriptions.map((entry) => entry.name),
    ),
    ...twice(
      'keys',
      'id',
      seed.keys.map((entry) => entry.id),
    ),
    ...twice(
      'outboxes',
      'name',
      seed.outboxes.map((entry) => entry.name),
    ),
    ...seed.buckets.flatMap((range, index) => unknownSet(`/buckets/${index}/set`, range.set)),
    ...seed.pins.flatMap((entry, index) => unknownSet(`/pins/${index}/set`, entry.set)),
    ...seed.topics.flatMap((entry, index) =>
      federationFaults(entry.replicate, entry.scope, seed.sets).map(({ at, detail }) => ({
        at: `/topics/${index}/replicate${at}`,
        detail,
      })),
    ),
    ...seed.subscriptions.flatMap((entry, index) => {
      const scope = topics.get(entry.topic)?.scope ?? 'anywhere';
      return federationFaults(entry.federate, scope, seed.sets).map(({ at, detail }) => ({
        at: `/subscriptions/${index}/federate${at}`,
        detail,
      }));
    }),
    ...seed.subscriptions.flatMap((entry, index) => {
      const owning = topics.get(entry.topic);
      if (!owning)
        return [{ at: `/subscriptions/${index}/topic`, detail: `There is no topic "${entry.topic}".` }];
      if (owning.owner === entry.owner) return [];
      return [{ at: `/subscriptions/${index}/owner`, detail: `The topic belongs to "${owning.owner}".` }];
    }),
  ];
}

function twice(list: string, field: string, values: readonly (string | number)[]): readonly SeedFault[] {
  return values.flatMap((value, index) =>
    values.indexOf(value) === index
      ? []
      : [{ at: `/${list}/${index}/${field}`, detail: `"${value}" is taken already.` }],
  );
}
