/**
 * When a delivery is tried again: a list of waits, or an expression that stands for one. Subscriptions have one, and a
 * message may bring its own.
 *
 *   {"delays": ["5s", "1m", "10m"], "attempts": 10}                 the last wait repeats until the tenth try
 *   {"kind": "exponential", "first": "5s", "factor": 3, "max": "6h", "attempts": 8}      5 s, 15 s, 45 s … at most 6 h
 *   {"attempts": 3, "timeout": "2s"}                               the subscription's waits, but three tries of 2 s
 *
 * In a header, `Setway-Retries: 5s, 1m, 10m; attempts=10` or `exponential; first=5s; factor=3; max=6h; attempts=8`.
 * An expression is worked out when it is read: what travels with a message is a list of milliseconds.
 */
import { z } from 'zod';
import { parseDurationMs } from '../duration.ts';

/** What a message says of its own deliveries; what it leaves out is the subscription's. */
export interface Retries {
  /** Waits before each retry, in milliseconds; the last one repeats. */
  readonly delaysMs?: readonly number[];
  /** Tries in all, the first one counted. */
  readonly maxAttempts?: number;
  /** Of one call, in milliseconds; never longer than the subscription's. */
  readonly timeoutMs?: number;
}

const maxDelayMs = 30 * 86_400_000;
const maxDelays = 50;
const maxTries = 100;
const timeout = { leastMs: 100, mostMs: 300_000 } as const;
const defaults = { factor: 2, max: '6h', attempts: 8 } as const;

const duration = z.union([z.number(), z.string().max(64)]);

const shape = {
  kind: z.enum(['list', 'exponential']).optional().meta({
    description: 'How the waits are given; may be left out.',
    example: 'exponential',
  }),
  delays: z
    .array(duration)
    .min(1)
    .max(maxDelays)
    .optional()
    .meta({
      description: 'Waits before each retry, at most 30 days each; the last one repeats until `attempts`.',
      example: ['5s', '1m', '10m'],
    }),
  first: duration.optional().meta({ description: 'exponential: the first wait.', example: '5s' }),
  factor: z.number().min(1).max(10).optional().meta({
    description: 'exponential: each wait is so many times the one before.',
    default: defaults.factor,
  }),
  max: duration.optional().meta({ description: 'exponential: the longest wait.', default: defaults.max }),
  attempts: z
    .int()
    .min(1)
    .max(maxTries)
    .optional()
    .meta({ description: 'Tries in all, the first one counted.', example: 8 }),
};

type Given = z.infer<z.ZodObject<typeof shape>> & { readonly timeout?: number | string | undefined };

/** Of a subscription, whose timeout is a field of its own. */
export const retrySchedule = z
  .strictObject(shape)
  .superRefine(check)
  .meta({ id: 'RetrySchedule', description: 'When failed deliveries are tried again.' });

/** Of one message. */
export const messageRetries = z
  .strictObject({
    ...shape,
    timeout: duration.optional().meta({
      description: 'Time of one call, 0.1 s to 5 min; never longer than that of the subscription.',
      example: '5s',
    }),
  })
  .superRefine(check)
  .meta({ id: 'Retries', description: "Overrides the subscriptions' retries for this message." });

export type RetrySchedule = z.infer<typeof retrySchedule>;

interface Checking {
  addIssue(issue: { code: 'custom'; path: (string | number)[]; message: string }): void;
}

function check(given: Given, context: Checking): void {
  const refuse = (message: string, ...path: (string | number)[]): void =>
    context.addIssue({ code: 'custom', path, message });
  const isWithin = (
    value: number | string | undefined,
    range: readonly [number, number],
    path: string,
  ): void => {
    const ms = value === undefined ? range[0] : durationMs(value);
    if (Number.isNaN(ms))
      refuse('Write seconds, such as 90, or units in falling order, such as "2h30m".', path);
    else if (ms < range[0] || ms > range[1]) refuse(`From ${range[0]} ms to ${range[1]} ms.`, path);
  };
  for (const delay of given.delays ?? []) isWithin(delay, [0, maxDelayMs], 'delays');
  isWithin(given.first, [100, maxDelayMs], 'first');
  isWithin(given.max, [100, maxDelayMs], 'max');
  isWithin(given.timeout, [timeout.leastMs, timeout.mostMs], 'timeout');
  const hasExpression = (given.first ?? given.factor ?? given.max) !== undefined;
  if (given.delays && (hasExpression || given.kind === 'exponential'))
    refuse('Give either a list of delays, or first, factor and max.', 'delays');
  if (given.kind === 'list' && !given.delays) refuse('A list has delays.', 'delays');
  if ((given.kind === 'exponential' || hasExpression) && given.first === undefined)
    refuse('An exponential schedule begins with `first`.', 'first');
}

/** NaN for what is no duration. */
function durationMs(value: number | string): number {
  try {
    return parseDurationMs(value, { at: '' });
  } catch {
    return Number.NaN;
  }
}

/**
 * What was checked above, in milliseconds.
 * @example toRetries({ kind: 'exponential', first: '5s', factor: 3, max: '1m', attempts: 5 }).delaysMs // [5e3, 15e3, 45e3, 6e4]
 */
export function toRetries(given: Given): Retries {
  const { attempts, delays, first } = given;
  return {
    ...(delays ? { delaysMs: delays.map(durationMs) } : {}),
    ...(first === undefined ? {} : exponential(given, durationMs(first))),
    ...(attempts === undefined ? {} : { maxAttempts: attempts }),
    ...(given.timeout === undefined ? {} : { timeoutMs: durationMs(given.timeout) }),
  };
}

function exponential({ factor, max, attempts }: Given, firstMs: number): Pick<Retries, 'delaysMs'> {
  const maxMs = durationMs(max ?? defaults.max);
  const waits = Math.min(maxDelays, Math.max(1, (attempts ?? defaults.attempts) - 1));
  const growth = factor ?? defaults.factor;
  return {
    delaysMs: Array.from({ length: waits }, (_, n) => Math.min(maxMs, Math.round(firstMs * growth ** n))),
  };
}

/**
 * The header form as the JSON form, unchecked.
 * @example readRetriesHeader('5s, 1m; attempts=5') // { delays: ['5s', '1m'], attempts: 5 }
 */
export function readRetriesHeader(text: string): object {
  const [head = '', ...parts] = text.split(';').map((part) => part.trim());
  const isList = !head.includes('=') && head !== 'exponential';
  const pairs = (head.includes('=') ? [head, ...parts] : parts).map((part): [string, unknown] => {
    const [name = '', value = ''] = part.split('=').map((each) => each.trim());
    return [name, name === 'attempts' || name === 'factor' ? asNumber(value) : value];
  });
  const waits = isList ? { delays: head.split(',').map((each) => each.trim()) } : {};
  return { ...(head === 'exponential' ? { kind: head } : waits), ...Object.fromEntries(pairs) };
}

/** Left as it is when it is none, so that the schema says so. */
function asNumber(value: string): number | string {
  return /^\d+(\.\d+)?$/.test(value) ? Number(value) : value;
}

/** Reads what travelled through the broker; what is none of ours is as if it were not there. */
export function retriesOf(given: unknown): Retries | undefined {
  if (typeof given !== 'string') return undefined;
  try {
    return JSON.parse(given) as Retries;
  } catch {
    return undefined;
  }
}
