/**
 * Every setting, with its default and the reason for it. The environment is read once, at the start of a shell;
 * every fault is reported at once, with its name and the remedy; the result is frozen.
 */
import { Buffer } from 'node:buffer';
import { z } from 'zod';
import { Problem } from './problem.ts';

const seconds = (fallback: number, most = 86_400) =>
  whole(fallback, { least: 1, most }).transform((value) => value * 1000);

function whole(fallback: number, bounds: { readonly least: number; readonly most: number }) {
  return z
    .string()
    .regex(/^\d{1,10}$/, 'must be a whole number')
    .transform(Number)
    .pipe(z.number().min(bounds.least).max(bounds.most))
    .prefault(String(fallback));
}

const list = z.string().transform((text) =>
  text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== ''),
);

const encryptionKey = z
  .base64('must be base64')
  .transform((text) => new Uint8Array(Buffer.from(text, 'base64')))
  .refine((bytes) => bytes.length === 32, 'must be 32 bytes: make one with `openssl rand -base64 32`');

const schema = z.object({
  /** Databases that hold the catalog, the center's first: any SET's database will do, the first that answers is read. */
  SETWAY_CATALOG_DATABASES: list.refine((urls) => urls.length > 0, 'must name at least one postgres:// URL'),
  /** Keys that seal secrets in the catalog, base64 of 32 bytes, the newest first. */
  SETWAY_ENCRYPTION_KEYS: list.pipe(z.array(encryptionKey).min(1, 'must hold at least one key')),
  /** Endpoint that speaks Neon's SQL-over-HTTP, when the databases are not Neon's own. */
  SETWAY_NEON_ENDPOINT: z.url().optional(),
  /** Redis that all SETs share, over Upstash's REST protocol. On Node `SETWAY_REDIS_URL` may stand instead. */
  SETWAY_REDIS_REST_URL: z.url().optional(),
  SETWAY_REDIS_REST_TOKEN: z.string().min(1).optional(),
  /** Redis that all SETs share, spoken to directly (Node only). */
  SETWAY_REDIS_URL: z.url({ protocol: /^rediss?$/ }).optional(),
  /** Before every key in Redis: deployments that share a Redis need one each. */
  SETWAY_REDIS_PREFIX: z.string().max(64).default('setway:'),
  /** Whose geolocation headers to trust. Headers of another platform could be sent by anybody. */
  SETWAY_PLATFORM: z.enum(['cloudflare', 'vercel', 'cloudfront', 'fly', 'netlify', 'none']).default('none'),
  /** SETs whose host lives in this process (Node): `*` for all. */
  SETWAY_HOSTED_SETS: list.default(['*']),
  /** Host names of this deployment: no webhook may point at them, or a message would come back for ever. */
  SETWAY_OWN_HOSTS: list.default([]),
  /** Opens http:, loopback and private addresses to webhooks. For development; never in production. */
  SETWAY_PRIVATE_WEBHOOKS: z.enum(['refuse', 'allow']).default('refuse'),
  /** Owners whose API keys of scope `manage` may create, change and retire SETs over HTTP; nobody, unless named. */
  SETWAY_OPERATORS: list.default([]),
  /** `/metrics` without an API key, where the network already guards it. */
  SETWAY_OPEN_METRICS: z.enum(['no', 'yes']).default('no'),
  /** A limited publish waits so long for Redis, then its edge counts alone: above a round trip between continents. */
  SETWAY_LIMIT_TIMEOUT_MS: whole(250, { least: 10, most: 5_000 }),
  /** Largest body of a publish. RabbitMQ 4 takes messages up to 16 MiB; a queue of large messages is slow for all. */
  SETWAY_MAX_BODY_BYTES: whole(1_048_576, { least: 1024, most: 8_388_608 }),
  /** Largest body of a bulk request. Each of its messages is bound by the setting above; all of them wait in memory. */
  SETWAY_MAX_BULK_BYTES: whole(8_388_608, { least: 1024, most: 33_554_432 }),
  /** How long an edge waits for one SET before it offers the message to the next one. */
  SETWAY_ACCEPT_TIMEOUT_MS: whole(1_200, { least: 50, most: 30_000 }),
  /** How long an edge tries in all before it answers 503. Three SETs' worth of waiting is lost patience. */
  SETWAY_ACCEPT_DEADLINE_MS: whole(2_700, { least: 50, most: 60_000 }),
  /** Longest wait for the broker's confirms; after it the outcome is unknown and the message is sent again. */
  SETWAY_CONFIRM_TIMEOUT_SECONDS: seconds(10),
  /** After how long somebody else sends what a host left unsettled: longer than the confirm timeout. */
  SETWAY_RESEND_AFTER_SECONDS: seconds(30),
  /** Tries before a message is FAILED: with a wait of at most 5 minutes, 300 tries are a day. */
  SETWAY_SEND_ATTEMPTS: whole(300, { least: 1, most: 100_000 }),
  /** How often a host says that it lives, and after how long without it is given up (RocketMQ's name server: 30, 120). */
  SETWAY_HEARTBEAT_SECONDS: seconds(30),
  SETWAY_HEARTBEAT_EXPIRY_SECONDS: seconds(120),
  /** How old the catalog may be before it is read again; a host that nobody told of a change knows it after twice that. */
  SETWAY_CATALOG_MAX_AGE_MS: whole(2_000, { least: 50, most: 3_600_000 }),
  /** Days of messages kept. */
  SETWAY_RETENTION_DAYS: whole(30, { least: 1, most: 3650 }),
  /** Hours an Idempotency-Key is remembered. */
  SETWAY_IDEMPOTENCY_HOURS: whole(24, { least: 1, most: 720 }),
  /** Time a stopping host gives to webhook calls under way. */
  SETWAY_STOP_GRACE_SECONDS: seconds(20),
  /** Where the webhook functions of this deployment keep their own tables (functions/webhooks/). */
  SETWAY_WEBHOOK_DATABASE: z.url({ protocol: /^postgres(ql)?$/ }).optional(),
  /** Node server. */
  SETWAY_HOST: z.string().default('127.0.0.1'),
  SETWAY_PORT: whole(8700, { least: 0, most: 65_535 }),
  /** Whether this process runs the cron functions itself (Node). */
  SETWAY_CRON: z.enum(['on', 'off']).default('on'),
});

export type Settings = Readonly<z.infer<typeof schema>>;

/**
 * @param environment `process.env`, or the bindings of a worker; what is not text is ignored
 * @throws Problem `invalid-settings` that lists every fault with its name and remedy
 * @example readSettings(process.env).SETWAY_PORT // 8700
 */
export function readSettings(environment: Readonly<Record<string, unknown>>): Settings {
  const texts = Object.entries(environment).filter(
    ([name, value]) => name.startsWith('SETWAY_') && typeof value === 'string',
  );
  const parsed = schema.safeParse(Object.fromEntries(texts.filter(([, value]) => value !== '')));
  if (parsed.success) return Object.freeze(parsed.data);
  const faults = parsed.error.issues.map((issue) => ({ at: String(issue.path[0]), detail: remedy(issue) }));
  const lines = faults.map(({ at, detail }) => `  ${at}: ${detail}`);
  throw new Problem('invalid-settings', `These settings need your attention:\n${lines.join('\n')}`, {
    faults,
  });
}

function remedy(issue: z.core.$ZodIssue): string {
  const isMissing = issue.code === 'invalid_type' && issue.message.includes('received undefined');
  return isMissing ? 'is not set, and there is no sensible default' : issue.message;
}
