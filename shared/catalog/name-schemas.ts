/** The small shapes that many entries of the catalog share. */
import { z } from 'zod';
import { isSigningSecret } from '../webhook/signature.ts';

/** Names that become exchange and queue names: ASCII, at most 100 bytes, never RabbitMQ's own `amq.`. */
export const name = z
  .string()
  .regex(
    /^[a-z0-9](?:[a-z0-9._-]{0,98}[a-z0-9])?$/,
    'must be 1–100 of a–z, 0–9, ".", "_", "-", and begin and end with a letter or digit',
  )
  .refine((text) => !text.startsWith('amq.'), 'must not begin with "amq.", which RabbitMQ keeps for itself');

export const owner = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,64}$/, 'must be 1–64 of A–Z, a–z, 0–9, "_", "-"')
  .default('default');

/** How much may be published (shared/catalog/publish-limit.ts); without it, as much as the SETs take. */
export const publishLimit = z.strictObject({
  /** Per `per`. */
  limit: z.int().min(1).max(1_000_000),
  /** Messages (those of a bulk request one by one; the default), or requests. */
  of: z.enum(['messages', 'requests']).default('messages'),
  per: z.enum(['second', 'minute']).default('second'),
  /** At once, after a pause; default: `limit`. */
  burst: z.int().min(1).max(1_000_000).optional(),
});

/** Standard Webhooks secrets, the newest first: symmetric ones (`whsec_`), Ed25519 secret keys (`whsk_`), or both. */
export const secrets = z
  .array(
    z
      .string()
      .refine(
        isSigningSecret,
        'must be whsec_ and base64 of 24 to 64 bytes, or an Ed25519 secret key: whsk_ and base64 of 32 bytes',
      ),
  )
  .min(1)
  .max(5);
