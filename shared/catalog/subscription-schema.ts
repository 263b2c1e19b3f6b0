/** A subscription as a person writes it, with every default. */
import { z } from 'zod';
import { deliveryPolicy } from './delivery-policy-schema.ts';
import { compileFilter, isFault, maxFilterCharacters } from '../subscriptions/content-filter.ts';
import { name, owner, secrets } from './name-schemas.ts';

/** 5 s, 30 s, 2 min, 10 min, 30 min, 2 h, 6 h: about nine hours in all. */
const defaultRetryDelaysMs = [5_000, 30_000, 120_000, 600_000, 1_800_000, 7_200_000, 21_600_000];

const filter = z
  .string()
  .min(1)
  .max(maxFilterCharacters)
  .superRefine((text, context) => {
    const compiled = text.length > maxFilterCharacters ? undefined : compileFilter(text);
    if (!compiled || !isFault(compiled)) return;
    context.addIssue({
      code: 'custom',
      message: `at character ${compiled.position}: ${compiled.detail}`,
      input: text,
    });
  });

const endpoint = z.union([z.strictObject({ url: z.url() }), z.strictObject({ function: name })]);

/** Visible ASCII, so that characters are the bytes of AMQP's limit. */
const binding = z.string().regex(/^[\x21-\x7e]{1,255}$/, 'must be 1–255 visible ASCII characters');

/** The fields, one by one; what they say together is checked by `subscription`. */
export const subscriptionFields = z.strictObject({
  name,
  owner,
  topic: name,
  /** Who takes the messages out of the queue: we, for a webhook; a consumer that asks over HTTP; a native AMQP consumer. */
  kind: z.enum(['webhook', 'pull', 'amqp']).default('webhook'),
  /** Of a webhook, and only there. */
  endpoint: endpoint.optional(),
  /** Further endpoints that share the deliveries with the first, the able more than the slow; 1 to 20. Default: none. */
  members: z.array(endpoint).min(1).max(20).optional(),
  bindings: z.array(binding).min(1).max(100).default(['#']),
  /** Messages each of its queues holds, 1 to 10 million per SET and priority; full, it refuses more. Default: no limit. */
  maxLength: z.int().min(1).max(10_000_000).optional(),
  /** A CEL condition on headers and body, at most 1,000 characters; without it every message is heard. */
  filter: filter.optional(),
  format: z.enum(['raw', 'cloudevents-binary', 'cloudevents-structured']).default('raw'),
  concurrency: z.int().min(1).max(1000).default(32),
  timeoutMs: z.int().min(100).max(300_000).default(15_000),
  retryDelaysMs: z.array(z.int().min(0).max(2_592_000_000)).max(50).default(defaultRetryDelaysMs),
  ...deliveryPolicy,
  /** Sign the calls of a webhook, and callbacks of whatever is pushed or pulled. */
  secrets: secrets.default([]),
  /** Items of a sequence: one call after the other (the default), or all in one call. */
  ordered: z.enum(['one-by-one', 'together']).optional(),
  /** Native consumers: federated queues between 2 to 64 SETs (default: all), where one with nothing to do gets messages of others. */
  federate: z
    .strictObject({
      between: z
        .array(name)
        .min(2)
        .max(64)
        .refine((ids) => new Set(ids).size === ids.length, 'must name each SET once')
        .optional(),
    })
    .optional(),
  status: z.enum(['active', 'paused']).default('active'),
  /** Why it is paused, up to 200 characters; none by default. */
  statusReason: z
    .string()
    .regex(/^\P{Cc}{1,200}$/u, 'must be 1–200 characters without control characters')
    .optional(),
});

export const subscription = subscriptionFields.superRefine((value, context) => {
  for (const [isBroken, field, message] of [...webhookRules(value), ...otherRules(value)])
    if (isBroken) context.addIssue({ code: 'custom', path: [field], message });
});

type Fields = z.infer<typeof subscriptionFields>;
type Rule = readonly [isBroken: boolean, field: keyof Fields, message: string];

function webhookRules(written: Fields) {
  const { kind, ordered, array, format, perKey, members, secrets: own } = written;
  const isWebhook = kind === 'webhook';
  const hasEndpoint = written.endpoint !== undefined;
  const hasArray = array !== undefined;
  return [
    [
      !isWebhook && ordered === 'together',
      'ordered',
      'Only a webhook gets the items of a sequence together.',
    ],
    [hasArray && format !== 'raw', 'array', 'Arrays have a form of their own: format raw.'],
    [hasArray && perKey !== undefined, 'array', 'One array holds messages of one key: leave perKey out.'],
    [isWebhook && !hasEndpoint, 'endpoint', 'A webhook needs one.'],
    [isWebhook && own.length === 0, 'secrets', 'A webhook needs one to sign with.'],
    [!isWebhook && hasEndpoint, 'endpoint', 'Only a webhook has one.'],
    [!isWebhook && members !== undefined, 'members', 'Only a webhook has them.'],
  ] as const satisfies readonly Rule[];
}

function otherRules({ kind, callback, federate, secrets: own, filter: condition }: Fields) {
  const isTold = callback !== undefined;
  const isNative = kind === 'amqp';
  return [
    [kind === 'pull' && isTold && own.length === 0, 'secrets', 'Its callbacks need one to sign with.'],
    [isNative && isTold, 'callback', 'Nobody knows how deliveries of a native consumer end.'],
    // Whose deliveries are recorded has its SET as their home.
    [!isNative && federate !== undefined, 'federate', 'Only queues of native consumers can be federated.'],
    // Nobody stands between the queue and those who take from it.
    [isNative && condition !== undefined, 'filter', 'A native consumer has none: use bindings.'],
  ] as const satisfies readonly Rule[];
}
