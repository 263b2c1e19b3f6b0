/** One order sent through a Setway that has just started: that it works is shown, not claimed. */
import type { FoundSetway } from './local-setway.ts';
import { until } from './part.ts';

export interface FirstOrder {
  readonly id: string;
  readonly set: string;
  readonly distanceKm: number;
  readonly deliveredTo: readonly string[];
}

interface Accepted {
  readonly id: string;
  readonly set: string;
  readonly route: { readonly distanceKm?: number };
}

interface Timeline {
  readonly deliveries: readonly { readonly subscription: string; readonly state: string }[];
}

/** SET hosts that are just opening may need a few seconds for their first connection. */
const patienceMs = 20_000;

/** @throws when it is not accepted and delivered within 20 s, with what the edge last said */
export async function sendFirstOrder({ url, deployment }: FoundSetway): Promise<FirstOrder> {
  const headers = {
    authorization: `Bearer ${deployment.apiKey}`,
    'content-type': 'application/json',
    'setway-latitude': '30.25',
    'setway-longitude': '120.17',
    'idempotency-key': crypto.randomUUID(),
  };
  const body = JSON.stringify({ orderId: 'first', sku: 'tea', quantity: 1, city: 'Hangzhou' });
  let accepted: Accepted | undefined;
  let timeline: Timeline = { deliveries: [] };
  await until(async () => {
    accepted ??= await ask<Accepted>(`${url}/v1/topics/orders/messages`, { method: 'POST', headers, body });
    timeline = await ask<Timeline>(`${url}/v1/messages/${accepted.id}`, { headers });
    const open = deployment.seed.subscriptions?.length !== timeline.deliveries.length;
    if (open || timeline.deliveries.some(({ state }) => state !== 'DONE'))
      throw new Error(`The first order is not delivered yet: ${JSON.stringify(timeline.deliveries)}`);
  }, patienceMs);
  if (!accepted) throw new Error('The first order was not accepted.');
  const { id, set, route } = accepted;
  const deliveredTo = timeline.deliveries.map(({ subscription }) => subscription);
  return { id, set, distanceKm: route.distanceKm ?? 0, deliveredTo };
}

async function ask<T>(url: string, init: RequestInit): Promise<T> {
  const response = await fetch(url, { ...init, signal: AbortSignal.timeout(5_000) });
  const text = await response.text();
  if (!response.ok) throw new Error(`The edge answered ${response.status}: ${text}`);
  return JSON.parse(text) as T;
}
