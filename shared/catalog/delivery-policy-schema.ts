/** How deliveries are made, as a person writes it: the part of a subscription that has all to do with its webhook. */
import { z } from 'zod';
import { readClientHeaders } from '../message/client-headers.ts';
import { retrySchedule } from '../message/retries.ts';
import type { Fault } from '../problem.ts';

const dayMs = 86_400_000;

/** Names and values as a message's own headers may have; see shared/message/client-headers.ts for what is refused. */
const headers = z
  .record(z.string(), z.string().max(4_096))
  .superRefine((given, context) => {
    const faults: Fault[] = [];
    readClientHeaders(Object.entries(given), '', faults);
    for (const { at, detail } of faults) context.addIssue({ code: 'custom', path: [at], message: detail });
    if (Object.keys(given).length > 20) context.addIssue({ code: 'custom', message: 'At most 20 headers.' });
    if (Object.keys(given).some((each) => each !== each.toLowerCase()))
      context.addIssue({ code: 'custom', message: 'Names are written in lower case.' });
  })
  .optional()
  .meta({ description: 'Headers of every call, such as authorization; kept sealed.' });

export const deliveryPolicy = {
  /** In place of `retryDelaysMs`: a list or an exponential schedule, and how many tries there are. Default: none. */
  retries: retrySchedule.optional(),
  /** Longest wait that `Retry-After` may ask for, in milliseconds: 1 s to 30 days, by default a day. */
  maxRetryAfterMs: z
    .int()
    .min(1_000)
    .max(30 * dayMs)
    .default(dayMs),
  /** Statuses (300 to 599) after which there is no other try; 410 among them fails the delivery only. Default: none. */
  nonRetryable: z.array(z.int().min(300).max(599)).max(100).default([]),
  /** What becomes of a delivery that failed for good: a dead letter (the default), or no more than a SKIPPED delivery. */
  atEnd: z.enum(['dead-letter', 'drop']).default('dead-letter'),
  /** Method of the call, by default POST. */
  method: z.enum(['POST', 'PUT', 'PATCH']).default('POST'),
  headers,
} as const;
