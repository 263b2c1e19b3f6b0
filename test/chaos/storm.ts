/**
 * One storm: a deployment of its own, 5,000 orders on their way, a disaster in the middle, and the books afterwards.
 */
import { expect } from 'vitest';
import type { SeedInput } from '../../shared/catalog/seed.ts';
import { deploy, type Deployment } from '../stack/deployment.ts';
import type { Stack } from '../stack/stack.ts';
import { countDone, settledBooks, type Books, type ReadReceipts } from './books.ts';
import { publishOrders, type Orders } from './orders.ts';
import { startReceiver } from './receiver.ts';

export interface Scene {
  readonly deployment: Deployment;
  readonly settings: Readonly<Record<string, string>>;
  readonly receipts: ReadReceipts;
  stop(): Promise<void>;
}

/** The disaster comes when so many of the orders are accepted. */
const acceptedBefore = 1_000;
const totalOrders = 5_000;
const concurrency = 32;
/** Quick retries, and enough of them for an outage of half a minute. */
const retryDelaysMs = [500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000, 8_000];
/** From the first order to the last effect. */
const stormDeadlineMs = 240_000;
const webhookTimeoutMs = 5_000;
/** Four SETs, two subscriptions: more at once than the consumers' database has connections only wait for each other. */
const webhookConcurrency = 8;
/** Times of a deployment that should repair itself within a test, and patience where a busy machine needs it. */
const times = {
  SETWAY_CONFIRM_TIMEOUT_SECONDS: '2',
  SETWAY_RESEND_AFTER_SECONDS: '4',
  SETWAY_ACCEPT_TIMEOUT_MS: '4000',
  SETWAY_ACCEPT_DEADLINE_MS: '6000',
};

/** What a scene stands on. */
export interface SceneGround {
  /** Of the receipts. */
  readonly webhookPort: number;
  readonly redisUrl: string;
  readonly deploy: (prefix: string, change: (seed: SeedInput) => SeedInput) => Promise<Deployment>;
}

export function setScene(stack: Stack): Promise<Scene> {
  return setSceneOn({
    webhookPort: stack.ports.webhooks,
    redisUrl: stack.redisUrl,
    deploy: (prefix, change) => deploy(stack.addresses, prefix, () => {}, change),
  });
}

/** The receipts are a consumer outside, which survives whatever is killed. */
export async function setSceneOn(ground: SceneGround): Promise<Scene> {
  const port = ground.webhookPort;
  const endpoint = { url: `http://127.0.0.1:${port}/receipt` };
  const change = (seed: SeedInput): SeedInput => ({
    ...seed,
    subscriptions: (seed.subscriptions ?? []).map((subscription) => ({
      ...subscription,
      retryDelaysMs,
      timeoutMs: webhookTimeoutMs,
      concurrency: webhookConcurrency,
      ...(subscription.name === 'receipt' ? { endpoint } : {}),
    })),
  });
  const prefix = `chaos${crypto.randomUUID().slice(0, 8)}`;
  const deployment = await ground.deploy(prefix, change);
  const receipt = deployment.seed.subscriptions?.find(({ name }) => name === 'receipt');
  const receiver = await startReceiver({
    port,
    secrets: receipt?.secrets ?? [],
    subscription: 'receipt',
    redisUrl: ground.redisUrl,
    databaseUrl: deployment.consumerDatabaseUrl,
  });
  return {
    deployment,
    settings: { ...deployment.settings, ...times },
    receipts: async () => receiver.effects,
    stop: () => receiver.stop(),
  };
}

export interface Storm {
  readonly url: string;
  /** Kills, asserts that it is dead, and brings it back. `midFlight` is to be called when it is dead, or just before if the books are in what dies. */
  readonly strike: (midFlight: () => Promise<void>) => Promise<void>;
}

/**
 * Publishes all orders through the strike and waits until everything is settled.
 * @throws when the deadline passes, with what is missing
 */
export async function weather(scene: Scene, { url, strike }: Storm): Promise<Books> {
  const { deployment, receipts } = scene;
  const endMs = performance.now() + stormDeadlineMs;
  const orders = publishOrders({ urls: [url], apiKey: deployment.apiKey, total: totalOrders, concurrency });
  const parts = { deployment, accepted: orders.accepted, receipts };
  try {
    await orders.reached(acceptedBefore);
    await strike(() => assertMidFlight(deployment, orders));
    await Promise.race([orders.all, tooLate(endMs)]);
    return await settledBooks(parts, endMs - performance.now());
  } catch (error) {
    const answers = JSON.stringify({ accepted: orders.accepted.size, refusals: [...orders.refusals] });
    throw new Error(`${String(error)}\nThe publisher saw: ${answers}`, { cause: error });
  } finally {
    orders.stop();
  }
}

/** Ends the wait for the publisher; what is missing then is told by the books. */
function tooLate(endMs: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, endMs - performance.now()).unref());
}

/** Some were accepted, not all were, and of those accepted some deliveries were not made yet. */
async function assertMidFlight(deployment: Deployment, { accepted }: Orders): Promise<void> {
  const before = accepted.size;
  const done = await countDone(deployment);
  expect(before).toBeGreaterThanOrEqual(acceptedBefore);
  expect(before).toBeLessThan(totalOrders);
  expect(done, 'deliveries done, of two for each message accepted').toBeLessThan(before * 2);
}

/** Every accepted message, on both consumer groups, exactly once; and nothing else. */
export const effectsOnce: Partial<Books> = {
  acceptedAndLost: [],
  doubledLines: 0,
  linesOfNobody: 0,
  lostReceipts: 0,
  doubledReceipts: 0,
  wrongStock: [],
  agenda: {},
};

export const exactlyOnce: Partial<Books> = { ...effectsOnce, storedIds: totalOrders };
