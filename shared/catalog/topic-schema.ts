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
});
