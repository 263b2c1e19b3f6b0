/**
 * The demo world: four SETs at real coordinates on one local broker (a vhost and a database each), the topic `orders`
 * and its two consumer groups, whose webhooks are functions of this repository.
 */
import { mintApiKey } from '../../shared/catalog/api-key.ts';
import type { SeedInput } from '../../shared/catalog/seed.ts';
import { createWebhookSecret } from '../../shared/webhook/signature.ts';

interface DemoSet {
  readonly id: string;
  readonly number: number;
  readonly kind: 'center' | 'unit';
  readonly place: { readonly latitude: number; readonly longitude: number };
}

/** `center` stands in Singapore: between the units, and near none of the example's cities. */
export const demoSets: readonly DemoSet[] = [
  { id: 'center', number: 0, kind: 'center', place: { latitude: 1.3521, longitude: 103.8198 } },
  { id: 'hangzhou', number: 1, kind: 'unit', place: { latitude: 30.2741, longitude: 120.1551 } },
  { id: 'frankfurt', number: 2, kind: 'unit', place: { latitude: 50.1109, longitude: 8.6821 } },
  { id: 'virginia', number: 3, kind: 'unit', place: { latitude: 39.0438, longitude: -77.4874 } },
];

/** Where the parts of a SET are, given its id. */
export interface DemoPlaces {
  readonly brokerUrl: (set: string) => string;
  readonly databaseUrl: (set: string) => string;
}

export interface DemoSeed {
  readonly seed: SeedInput;
  /** May publish from anywhere and read. */
  readonly apiKey: string;
}

export function demoSeed(places: DemoPlaces): DemoSeed {
  const { text, key } = mintApiKey({ owner: 'demo', scopes: ['publish', 'read'], maySetPlace: true });
  const subscription = (name: string) => ({
    name,
    owner: 'demo',
    topic: 'orders',
    endpoint: { function: name },
    secrets: [createWebhookSecret()],
    retryDelaysMs: [1_000, 5_000, 30_000, 120_000],
  });
  const seed: SeedInput = {
    sets: demoSets.map((set) => ({
      ...set,
      brokerUrls: [places.brokerUrl(set.id)],
      databaseUrls: [places.databaseUrl(set.id)],
    })),
    topics: [
      { name: 'orders', owner: 'demo', rules: ['explicit', 'pin', 'nearest', 'center'] },
      // By key: a user's payments stay in one SET wherever the user is.
      { name: 'payments', owner: 'demo', rules: ['explicit', 'pin', 'key', 'nearest', 'center'] },
      // Never leaves the center.
      { name: 'ledger', owner: 'demo', scope: 'center', rules: ['center'] },
    ],
    subscriptions: [subscription('inventory'), subscription('receipt')],
    buckets: [
      { from: 0, to: 5460, set: 'hangzhou' },
      { from: 5461, to: 10_922, set: 'frankfurt' },
      { from: 10_923, to: 16_383, set: 'virginia' },
    ],
    keys: [{ ...key, scopes: [...key.scopes] }],
  };
  return { seed, apiKey: text };
}
