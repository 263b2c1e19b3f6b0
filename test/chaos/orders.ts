/**
 * A publisher as a careful client would be: many orders, a bounded number at once, and for each the same
 * Idempotency-Key until somebody answers 202.
 */
export interface OrdersOptions {
  /** Edges: one that refuses or does not answer sends the publisher on to the next. */
  readonly urls: readonly string[];
  readonly apiKey: string;
  readonly total: number;
  /** Requests under way at once. */
  readonly concurrency: number;
  /** Between a 202 and the next request of the same turn; 0 unless said otherwise. */
  readonly restMs?: number;
}

export interface AcceptedOrder {
  readonly id: string;
  readonly sku: string;
  readonly quantity: number;
}

export interface Orders {
  /** By idempotency key: every order whose 202 has arrived. */
  readonly accepted: ReadonlyMap<string, AcceptedOrder>;
  /** Requests that were not answered with 202, by what they were answered with. */
  readonly refusals: ReadonlyMap<string, number>;
  /** Resolves once so many are accepted. */
  reached(amount: number): Promise<void>;
  /** Resolves when all are accepted. */
  readonly all: Promise<void>;
  /** When each 202 arrived, by the monotonic clock. */
  readonly acceptedAtMs: readonly number[];
  /** Begins no further order; resolves when those begun are accepted. */
  finish(): Promise<void>;
  /** Gives up what is not accepted yet. */
  stop(): void;
}

const cities = [
  { city: 'Shanghai', latitude: '31.2', longitude: '121.5' },
  { city: 'Berlin', latitude: '52.5', longitude: '13.4' },
  { city: 'New York', latitude: '40.7', longitude: '-74.0' },
  { city: 'Jakarta', latitude: '-6.2', longitude: '106.8' },
] as const;

const requestTimeoutMs = 8_000;
/** A client of a test has less patience than Retry-After asks for. */
const longestPauseMs = 1_000;

export function publishOrders(options: OrdersOptions): Orders {
  const { urls, apiKey, total, concurrency, restMs = 0 } = options;
  const accepted = new Map<string, AcceptedOrder>();
  const refusals = new Map<string, number>();
  const waiting: { readonly amount: number; readonly resolve: () => void }[] = [];
  const run = crypto.randomUUID();
  const acceptedAtMs: number[] = [];
  let next = 0;
  let end = total;
  let edge = 0;
  let isStopped = false;

  const attempt = async (key: string, index: number): Promise<string | undefined> => {
    const { city, latitude, longitude } = cities[index % cities.length] ?? cities[0];
    const { sku, quantity } = orderOf(index);
    const asked = edge;
    const moveOn = (): void => void (edge = edge === asked ? edge + 1 : edge);
    const response = await fetch(`${urls[asked % urls.length] ?? ''}/v1/messages`, {
      method: 'POST',
      signal: AbortSignal.timeout(requestTimeoutMs),
      headers: {
        authorization: `Bearer ${apiKey}`,
        'content-type': 'application/json',
        'idempotency-key': key,
        'setway-latitude': latitude,
        'setway-longitude': longitude,
      },
      body: JSON.stringify({ topic: 'orders', body: { orderId: key, sku, quantity, city } }),
    }).catch((error: unknown) => {
      moveOn();
      throw error;
    });
    const answer = (await response.json()) as { readonly id: string };
    if (response.status === 202) return answer.id;
    if (response.status < 500 && response.status !== 409)
      throw new TypeError(`An order was refused for good: ${response.status} ${JSON.stringify(answer)}`);
    count(`HTTP ${response.status}`);
    if (response.status !== 409) moveOn();
    await pause(Number(response.headers.get('retry-after') ?? 0.2) * 1_000);
    return undefined;
  };
  const count = (reason: string): void => void refusals.set(reason, (refusals.get(reason) ?? 0) + 1);

  const publish = async (index: number): Promise<void> => {
    const key = `${run}-${index}`;
    while (!isStopped) {
      const id = await attempt(key, index).catch(async (error: unknown) => {
        if (error instanceof TypeError && error.message.startsWith('An order')) throw error;
        count('no answer');
        await pause(100);
        return undefined;
      });
      if (id === undefined) continue;
      accepted.set(key, { id, ...orderOf(index) });
      acceptedAtMs.push(performance.now());
      for (const { amount, resolve } of waiting) if (accepted.size >= amount) resolve();
      return;
    }
  };
  const work = async (): Promise<void> => {
    while (next < end && !isStopped) {
      await publish(next++);
      if (restMs > 0) await pause(restMs);
    }
  };
  const all = Promise.all(Array.from({ length: concurrency }, work)).then(() => undefined);
  all.catch(() => undefined); // whoever awaits it is told
  return {
    accepted,
    acceptedAtMs,
    refusals,
    all,
    finish: () => {
      end = next;
      return all;
    },
    reached: (amount) =>
      Promise.race([all, new Promise<void>((resolve) => waiting.push({ amount, resolve }))]),
    stop: () => (isStopped = true),
  };
}

function orderOf(index: number): { readonly sku: string; readonly quantity: number } {
  return { sku: `sku-${index % 100}`, quantity: 1 + (index % 3) };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.min(ms, longestPauseMs)));
}

/** The longest time between two that follow each other. */
export function longestGap(timesMs: readonly number[]): number {
  return timesMs.reduce(
    (longest, timeMs, index) => Math.max(longest, timeMs - (timesMs[index - 1] ?? timeMs)),
    0,
  );
}
