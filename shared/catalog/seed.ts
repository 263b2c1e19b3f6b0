/**
 * The seed: the catalog as a person writes it, in plain JSON. `setway apply seed.json` checks it, seals its secrets,
 * and writes it as the next version of the catalog.
 */
import { z } from 'zod';
import { Problem } from '../problem.ts';

/** Names that become exchange and queue names: ASCII, at most 100 bytes, never RabbitMQ's own `amq.`. */
const name = z
  .string()
  .regex(
    /^[a-z0-9](?:[a-z0-9._-]{0,98}[a-z0-9])?$/,
    'must be 1–100 of a–z, 0–9, ".", "_", "-", and begin and end with a letter or digit',
  )
  .refine((text) => !text.startsWith('amq.'), 'must not begin with "amq.", which RabbitMQ keeps for itself');

const owner = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,64}$/, 'must be 1–64 of A–Z, a–z, 0–9, "_", "-"')
  .default('default');

/** Standard Webhooks secrets, the newest first. */
const secrets = z
  .array(z.string().regex(/^whsec_[A-Za-z0-9+/=]{32,}$/, 'must be whsec_ and base64 of at least 24 bytes'))
  .min(1)
  .max(5);

const topic = z.strictObject({
  name,
  owner,
  type: z.enum(['fanout', 'direct', 'topic']).default('topic'),
  scope: z.enum(['anywhere', 'center']).default('anywhere'),
  rules: z
    .array(z.enum(['explicit', 'pin', 'key', 'nearest', 'center']))
    .default(['explicit', 'pin', 'key', 'nearest', 'center']),
  /** Sign the questions to producers of transactions (check-back); without them no check URL is taken. */
  secrets: secrets.optional(),
});

/** 5 s, 30 s, 2 min, 10 min, 30 min, 2 h, 6 h: about nine hours in all. */
const defaultRetryDelaysMs = [5_000, 30_000, 120_000, 600_000, 1_800_000, 7_200_000, 21_600_000];

const subscription = z.strictObject({
  name,
  owner,
  topic: name,
  endpoint: z.union([z.strictObject({ url: z.url() }), z.strictObject({ function: name })]),
  bindings: z.array(z.string().min(1).max(255)).min(1).max(100).default(['#']),
  format: z.enum(['raw', 'cloudevents-binary', 'cloudevents-structured']).default('raw'),
  concurrency: z.int().min(1).max(1000).default(32),
  timeoutMs: z.int().min(100).max(300_000).default(15_000),
  retryDelaysMs: z.array(z.int().min(0).max(2_592_000_000)).max(50).default(defaultRetryDelaysMs),
  secrets,
  /** Items of a sequence: one call after the other (the default), or all in one call. */
  ordered: z.enum(['one-by-one', 'together']).optional(),
  status: z.enum(['active', 'paused']).default('active'),
});

const set = z.strictObject({
  id: name,
  number: z.int().min(0).max(4095),
  kind: z.enum(['center', 'unit']),
  place: z.strictObject({ latitude: z.number().min(-90).max(90), longitude: z.number().min(-180).max(180) }),
  weight: z.number().min(0).max(1000).default(1),
  status: z.enum(['active', 'draining', 'fenced']).default('active'),
  brokerUrls: z
    .array(z.url({ protocol: /^amqps?$/ }))
    .min(1)
    .max(16),
  databaseUrls: z
    .array(z.url({ protocol: /^postgres(ql)?$/ }))
    .min(1)
    .max(64),
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
  scopes: z.array(z.enum(['publish', 'read', 'manage'])).min(1),
  maySetPlace: z.boolean().default(false),
  expiresAt: z.iso.datetime().nullable().default(null),
  revokedAt: z.iso.datetime().nullable().default(null),
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
