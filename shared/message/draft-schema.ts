/**
 * The shape of a publish in JSON, as zod schemas: the door parses with them and the OpenAPI document is generated from
 * them. All texts are ASCII, so characters are bytes and the limits below are bytes.
 */
import { z } from 'zod';
import { callbackSchema } from './callback.ts';
import { messageRetries } from './retries.ts';

/**
 * A topic or SET: words of ASCII letters, digits, `_` and `-`, joined by single dots. Homoglyphs, full-width letters,
 * zero-width and right-to-left marks have no place to hide in it, and neither have `.`, `..`, `*`, `#` and NUL.
 */
const dottedName = /^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*$/;
/** The same for a tag, with `:`, `/`, `@` and `+` inside words. */
const dottedWords = /^[A-Za-z0-9_:/@+-]+(?:\.[A-Za-z0-9_:/@+-]+)*$/;
/** Visible ASCII; `*` and `#` mean something in bindings, `.` and `..` in paths. */
const visibleKey = /^(?!\.{1,2}$)[\x21\x22\x24-\x29\x2b-\x7e]+$/;
/** RFC 9110 §8.3.1: type/subtype and parameters. */
const mediaType =
  /^[!#$%&'*+.^_`|~0-9A-Za-z-]+\/[!#$%&'*+.^_`|~0-9A-Za-z-]+(?: *; *[!#$%&'*+.^_`|~0-9A-Za-z-]+=(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+|"[\t\x20\x21\x23-\x5b\x5d-\x7e]*"))*$/;

export const topicName = z
  .string()
  .max(128, 'At most 128 bytes.')
  .regex(dottedName, 'Words of ASCII letters, digits, "_" and "-", joined by single dots.')
  .refine((name) => !/^(?:amq|setway)\./i.test(name), 'Names that begin with "amq." or "setway." are taken.')
  .meta({ description: 'A declared topic.', example: 'orders' });

export const setName = z
  .string()
  .max(63, 'At most 63 bytes.')
  .regex(dottedName, 'Words of ASCII letters, digits, "_" and "-", joined by single dots.')
  .meta({ description: 'Name of a SET.', example: 'hangzhou' });

export const messageTag = z
  .string()
  .max(255, 'At most 255 bytes (a routing key of AMQP).')
  .regex(dottedWords, 'Words of ASCII letters, digits and _:/@+- joined by single dots; no "*" and no "#".')
  .refine((tag) => !/^amq\./i.test(tag), 'Tags that begin with "amq." are taken.')
  .meta({
    description:
      'Routing key inside the topic; subscriptions bind to it, "*" for one word, "#" for any number.',
    example: 'eu.created',
  });

export const messageKey = z
  .string()
  .max(255, 'At most 255 bytes.')
  .regex(visibleKey, 'Visible ASCII without "*" and "#", and not "." or "..".')
  .meta({
    description: 'Partition key, such as a user id: messages with one key go to one SET.',
    example: 'user-42',
  });

export const messageLane = z
  .string()
  .max(255, 'At most 255 bytes.')
  .regex(visibleKey, 'Visible ASCII without "*" and "#", and not "." or "..".')
  .meta({
    description:
      'Messages of one lane are delivered one after the other, in the order they were stored; lanes side by side. Not with fast.',
    example: 'user-42',
  });

export const sessionName = z
  .string()
  .max(128, 'At most 128 bytes.')
  .regex(/^(?!\.{1,2}$)[A-Za-z0-9_.:@+-]+$/, 'ASCII letters, digits and _.:@+-, and not "." or "..".')
  .meta({
    description: 'Name of an ordered group: yours, used once, or made for you.',
    example: 'order-4711',
  });

export const messageMode = z.enum(['confirm', 'fast']).meta({
  description:
    'confirm: stored before the answer, delivered at least once. fast: handed to the broker only, at most once.',
  example: 'confirm',
});

export const routeFallback = z.enum(['only', 'prefer']).meta({
  description: 'only: this SET or none. prefer: a sibling takes it when this SET cannot.',
});

export const contentTypeText = z
  .string()
  .max(255, 'At most 255 bytes.')
  .regex(mediaType, 'A media type, such as "text/plain; charset=utf-8".')
  .meta({ description: 'Media type of the body.', example: 'application/json' });

const duration = z.union([z.number(), z.string().max(64)]);

export const deliverAfterTime = duration.meta({
  description: 'Delivered after this long: seconds, or units such as "10m" or "2h30m"; 1 s to 366 days.',
  example: '10m',
});

export const deliverAtTime = z.string().max(64).meta({
  description:
    'Delivered at this instant (RFC 3339), at most 366 days ahead; in the past: at once. Either this or deliverAfter.',
  example: '2026-12-24T18:00:00Z',
});

export const expiresAfterTime = duration.meta({
  description: 'Not delivered any more after this long, counted from now; retries included.',
  example: '1h',
});

export const publishSchema = z
  .strictObject({
    topic: topicName,
    tag: messageTag.optional(),
    key: messageKey.optional(),
    lane: messageLane.optional(),
    mode: messageMode.optional().meta({ default: 'confirm' }),
    body: z
      .unknown()
      .optional()
      .meta({
        description:
          'Any JSON value, sent as JSON; with a contentType that is not JSON a string, sent as UTF-8. Either this or bodyBase64.',
        example: { order: 4711, total: 99.5 },
      }),
    bodyBase64: z.string().optional().meta({
      description: 'The body as bytes: base64 with padding (RFC 4648 §4). Either this or body.',
      contentEncoding: 'base64',
    }),
    contentType: contentTypeText.optional(),
    headers: z
      .record(z.string(), z.string())
      .optional()
      .meta({
        description:
          'Headers of your own, passed on to the webhook: at most 100 and 32 KiB. Names of the transport, webhook-*, setway-*, cc and bcc are refused.',
        example: { 'x-shop': '7' },
      }),
    route: z
      .strictObject({ set: setName, fallback: routeFallback.optional().meta({ default: 'prefer' }) })
      .optional()
      .meta({ description: 'Explicit choice of a SET, if the topic has the rule.' }),
    deliverAfter: deliverAfterTime.optional(),
    deliverAt: deliverAtTime.optional(),
    expiresAfter: expiresAfterTime.optional(),
    retries: messageRetries.optional(),
    callback: callbackSchema.optional(),
  })
  .refine(({ lane, mode }) => lane === undefined || mode !== 'fast', {
    path: ['lane'],
    error: 'A lane orders what is stored, and fast is not: leave one of them out.',
  })
  .refine(({ callback, mode }) => callback === undefined || mode !== 'fast', {
    path: ['callback'],
    error: 'Nobody keeps what becomes of a fast message: leave one of them out.',
  })
  .refine(({ retries, mode }) => retries === undefined || mode !== 'fast', {
    path: ['retries'],
    error: 'A fast message is tried once: leave one of them out.',
  })
  .meta({ id: 'Publish', description: 'One message to publish.' });

export type PublishRequest = z.infer<typeof publishSchema>;
