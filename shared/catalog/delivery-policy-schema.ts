/** How deliveries are made, as a person writes it: the part of a subscription that has all to do with its webhook. */
import { z } from 'zod';
import { callbackSchema } from '../message/callback.ts';
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
  /** Most calls of one SET in any second, minute or hour. Default: no limit. */
  rate: z
    .strictObject({ limit: z.int().min(1).max(10_000), per: z.enum(['second', 'minute', 'hour']) })
    .optional(),
  /** `one-at-a-time`: deliveries of one key never overlap, in whatever order they come. Default: they may. */
  perKey: z.enum(['one-at-a-time']).optional(),
  /**
   * A host leaves a webhook alone after so many failures in a row (no answer, 5xx), by default 10, 0 for never; it
   * probes after a wait that doubles from 1 s to `maxWaitMs`, by default a minute.
   */
  breaker: z
    .strictObject({
      failures: z.int().min(0).max(1_000).default(10),
      maxWaitMs: z.int().min(1_000).max(3_600_000).default(60_000),
    })
    .default({ failures: 10, maxWaitMs: 60_000 }),
  /** Up to 1000 messages in one call, for which the first one waits at most a minute (of a `raw` webhook). Default: alone. */
  array: z
    .strictObject({ maxItems: z.int().min(1).max(1_000), maxWaitMs: z.int().min(0).max(60_000) })
    .optional(),
  /** URLs that are told when a delivery is done, or has failed for good. Default: nobody. */
  callback: callbackSchema.optional(),
  /** A SET disables it after so long with nothing but failures of any kind, and at least so many: 5 days and 50 by default. */
  disableAfter: z
    .strictObject({
      afterMs: z
        .int()
        .min(1_000)
        .max(365 * dayMs)
        .default(5 * dayMs),
      failures: z.int().min(1).max(1_000_000).default(50),
    })
    .default({ afterMs: 5 * dayMs, failures: 50 }),
} as const;
