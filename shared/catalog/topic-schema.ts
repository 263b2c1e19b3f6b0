/** A topic as a person writes it, with every default. */
import { z } from 'zod';
import { name, owner, publishLimit, secrets } from './name-schemas.ts';

export const topic = z.strictObject({
  // By the rules of a publish, which names it.
  name: name.refine(
    (text) => !/^setway[.]|[.]{2}/.test(text),
    'must not begin with "setway." nor have two dots in a row',
  ),
  owner,
  type: z.enum(['fanout', 'direct', 'topic']).default('topic'),
  scope: z.enum(['anywhere', 'center']).default('anywhere'),
  rules: z
    .array(z.enum(['explicit', 'pin', 'key', 'nearest', 'center']))
    .default(['explicit', 'pin', 'key', 'nearest', 'center']),
  /** Sign the questions to producers of transactions (check-back); without them no check URL is taken. */
  secrets: secrets.optional(),
  /** How much may be published to it, by all keys together; without it, as much as the SETs take. */
  publishLimit: publishLimit.optional(),
  /** Where its messages are before the 202: in their SET's database (`stored`, the default) or in another SET's as well. */
  durability: z.enum(['stored', 'mirrored']).optional(),
  /** What is published in one SET reaches the others as copies (federation); the SET it was published in delivers. Default: no. */
  replicate: z
    .strictObject({
      /** 2 to 64 SETs by id. Default: all there are. */
      between: z
        .array(name)
        .min(2)
        .max(64)
        .refine((ids) => new Set(ids).size === ids.length, 'must name each SET once')
        .optional(),
      /** Copies are kept in the other SETs' databases, or dropped: then only native AMQP consumers see them. */
      others: z.enum(['hold', 'drop']).default('hold'),
      /** How long a copy is kept, in milliseconds: a minute to 30 days. Default: a day. */
      keepForMs: z.int().min(60_000).max(2_592_000_000).default(86_400_000),
    })
    .optional(),
});
