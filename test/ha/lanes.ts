/**
 * Ordered messages while SETs break: each lane's publisher waits for its 202 before it sends the next, at one edge or
 * the other; a receiver hears them, and afterwards each lane must have been heard whole and in order.
 */
import type { SeedInput } from '../../shared/catalog/seed.ts';
import { addListeners } from '../stack/listeners.ts';
import { startWebhookReceiver } from '../stack/webhook-receiver.ts';

export interface Lanes {
  /** Adds the subscription that hears them. */
  readonly change: (seed: SeedInput) => SeedInput;
  publish(options: { readonly urls: readonly string[]; readonly apiKey: string }): LanesUnderWay;
  stop(): Promise<void>;
}

export interface LanesUnderWay {
  /** How many of each lane are accepted. */
  readonly accepted: ReadonlyMap<string, number>;
  /** Begins none further; resolves when those begun are accepted. */
  finish(): Promise<void>;
  /** Resolves when everything accepted was heard. @throws at the deadline, with what is missing */
  heard(deadlineMs: number): Promise<void>;
  /** Calls that came after a later one of their lane, each as `lane 3 after 4`. A repeated call right after itself is none. */
  outOfOrder(): readonly string[];
}

const amount = 8;
/** Between a 202 and the next of its lane. */
const restMs = 100;
const requestTimeoutMs = 8_000;
/** One of its subscription's, so that a lane that was taken over must come in order through both SETs. */
const tag = 'lanes';

interface Step {
  readonly lane: string;
  readonly step: number;
}

export async function openLanes(): Promise<Lanes> {
  const receiver = await startWebhookReceiver();
  const run = crypto.randomUUID().slice(0, 8);
  const heardOf = (lane: string): readonly number[] =>
    receiver.calls
      .map(({ body }) => JSON.parse(body.toString('utf8')) as Step)
      .filter((each) => each.lane === lane)
      .map(({ step }) => step);
  return {
    change: (seed) =>
      addListeners(seed, receiver.url, { [tag]: { retryDelaysMs: Array.from({ length: 40 }, () => 1_000) } }),
    publish: (where) => {
      const accepted = new Map<string, number>();
      let isOver = false;
      const lanes = Array.from({ length: amount }, (_, index) => `${run}-${index}`);
      const work = lanes.map(async (lane) => {
        for (let step = 1; !isOver; step++) {
          await publishStep(where, { lane, step });
          accepted.set(lane, step);
          await rest(restMs);
        }
      });
      const all = Promise.all(work).then(() => undefined);
      all.catch(() => undefined); // whoever awaits it is told
      return {
        accepted,
        finish: () => {
          isOver = true;
          return all;
        },
        heard: async (deadlineMs) => {
          const isHeard = (): boolean =>
            lanes.every((lane) => new Set(heardOf(lane)).size === accepted.get(lane));
          const missing = (): string =>
            lanes
              .map((lane) => `${lane}: ${new Set(heardOf(lane)).size} of ${accepted.get(lane) ?? 0}`)
              .join(', ');
          await receiver.waitFor(isHeard, deadlineMs).catch((error: unknown) => {
            throw new Error(`Lanes were not heard whole: ${missing()}`, { cause: error });
          });
        },
        outOfOrder: () =>
          lanes.flatMap((lane) => {
            const heard = heardOf(lane);
            return heard.flatMap((step, index) => {
              const before = heard[index - 1] ?? 0;
              return step === before || step === before + 1 ? [] : [`${lane} ${step} after ${before}`];
            });
          }),
      };
    },
    stop: () => receiver.stop(),
  };
}

/** Until somebody answers 202. A lane may wait for its home. */
async function publishStep(
  { urls, apiKey }: { readonly urls: readonly string[]; readonly apiKey: string },
  { lane, step }: Step,
): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    const response = await fetch(`${urls[attempt % urls.length] ?? ''}/v1/messages`, {
      method: 'POST',
      signal: AbortSignal.timeout(requestTimeoutMs),
      headers: {
        authorization: `Bearer ${apiKey}`,
        'content-type': 'application/json',
        'idempotency-key': `${lane}-${step}`,
      },
      body: JSON.stringify({ topic: 'events', tag, lane, body: { lane, step } }),
    }).catch(() => undefined);
    await response?.text().catch(() => undefined);
    if (response?.status === 202) return;
    if (response && response.status < 500 && response.status !== 409 && response.status !== 429)
      throw new TypeError(`A step was refused for good: ${response.status}`);
    await rest(200);
  }
}

function rest(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
