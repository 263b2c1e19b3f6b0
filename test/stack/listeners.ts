/** Subscriptions of the topic `events` that end at a receiver of the test: each hears the tag that is its name. */
import type { SeedInput } from '../../shared/catalog/seed.ts';
import { createWebhookSecret } from '../../shared/webhook/signature.ts';

type SubscriptionInput = NonNullable<SeedInput['subscriptions']>[number];

const events: NonNullable<SeedInput['topics']>[number] = {
  name: 'events',
  owner: 'demo',
  rules: ['explicit', 'pin', 'nearest', 'center'],
};

/** Retries come quickly, so that a whole schedule passes within a test. */
const quickRetriesMs = [300, 300];

/** By name, what differs from a subscription that hears its own name at the receiver's path `/<name>`. */
export type Listeners = Readonly<Record<string, Partial<SubscriptionInput>>>;

/**
 * @example deploy(stack, 'x', log, (seed) => addListeners(seed, receiver.url, { plain: {}, slow: { timeoutMs: 100 } }))
 */
export function addListeners(seed: SeedInput, receiverUrl: string, listeners: Listeners): SeedInput {
  const subscriptions = Object.entries(listeners).map(([name, more]) => ({
    name,
    owner: 'demo',
    topic: 'events',
    endpoint: { url: `${receiverUrl}/${name}` },
    bindings: [name],
    secrets: [createWebhookSecret()],
    retryDelaysMs: quickRetriesMs,
    ...more,
  }));
  const topics = seed.topics ?? [];
  return {
    ...seed,
    topics: topics.some(({ name }) => name === events.name) ? topics : [...topics, events],
    subscriptions: [...(seed.subscriptions ?? []), ...subscriptions],
  };
}

/** The signing secret of a subscription. */
export function secretOf({ subscriptions = [] }: SeedInput, name: string): string {
  return subscriptions.find((subscription) => subscription.name === name)?.secrets?.[0] ?? '';
}
