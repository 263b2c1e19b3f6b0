/** What lists may be asked, as schemas. */
import { z } from 'zod';

const instant = z.string().max(64);

export const errorText = z
  .string()
  .min(3, 'At least 3 characters.')
  .max(200, 'At most 200 characters.')
  .refine((text) => text.isWellFormed() && !text.includes('\0'), 'Text without NUL.')
  .meta({ description: 'Part of an error, in any case.', example: 'HTTP 503' });
export const subscriptionName = z
  .string()
  .min(1)
  .max(128)
  .regex(/^[\x21-\x7e]+$/, 'Visible ASCII.');
export const pageLimit = z
  .string()
  .regex(/^(?:[1-9]\d?|1\d\d|200)$/, 'A number from 1 to 200.')
  .meta({ description: 'At most so many, 1 to 200; 50 without it.', example: '50' });
export const cursorText = z.string().max(1024).meta({ description: '`next` of the page before.' });
export const times = {
  from: instant
    .optional()
    .meta({ description: 'At or after this instant.', example: '2026-01-31T10:00:00Z' }),
  to: instant.optional().meta({ description: 'Before this instant.', example: '2026-02-01T00:00:00Z' }),
};
