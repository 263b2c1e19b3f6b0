/** What most end-to-end files begin with: a deployment with listeners, running on a platform, and a client of it. */
import { mintApiKey } from '../../shared/catalog/api-key.ts';
import type { SeedInput } from '../../shared/catalog/seed.ts';
import { createClient, type Client } from './client.ts';
import { useStack } from './current-stack.ts';
import { deploy, freshPrefix, type Deployment } from './deployment.ts';
import { addListeners, type Listeners } from './listeners.ts';
import type { Platform, RunningPlatform } from './platform.ts';
import { startWebhookReceiver, type WebhookReceiver } from './webhook-receiver.ts';

export interface Scene {
  readonly receiver: WebhookReceiver;
  readonly deployment: Deployment;
  readonly server: RunningPlatform;
  /** Publishes and reads. */
  readonly client: Client;
  /** The same owner with every scope. */
  readonly operator: Client;
  /** The operator at another edge of the deployment. */
  readonly operatorAt: (url: string) => Client;
  /** Another owner with every scope. */
  readonly stranger: Client;
  stop(): Promise<void>;
}

export interface SceneParts {
  /** Subscriptions of the topic `events`, see `addListeners`. */
  readonly listeners?: Listeners;
  /** Makes yet another seed, after the listeners were added. */
  readonly change?: (seed: SeedInput, receiverUrl: string) => SeedInput;
  readonly settings?: Readonly<Record<string, string>>;
}

/**
 * @example
 * let scene: Scene;
 * beforeAll(async () => void (scene = await openScene(platform, 'batch', { listeners: { plain: {} } })));
 * afterAll(() => scene.stop());
 */
export async function openScene(
  platform: Platform,
  topic: string,
  { listeners = {}, change = (seed) => seed, settings = {} }: SceneParts,
): Promise<Scene> {
  const receiver = await startWebhookReceiver();
  const operator = keyOf('demo');
  const stranger = keyOf('rival');
  const deployment = await deploy(
    useStack(),
    freshPrefix(topic),
    () => undefined,
    (seed) => {
      const listening = change(addListeners(seed, receiver.url, listeners), receiver.url);
      return { ...listening, keys: [...(listening.keys ?? []), operator.key, stranger.key] };
    },
  );
  const server = await platform.start(deployment, settings);
  return {
    receiver,
    deployment,
    server,
    client: createClient(server.url, deployment),
    operator: createClient(server.url, { apiKey: operator.text }),
    operatorAt: (url) => createClient(url, { apiKey: operator.text }),
    stranger: createClient(server.url, { apiKey: stranger.text }),
    async stop() {
      await server.stop();
      await receiver.stop();
    },
  };
}

function keyOf(owner: string) {
  const { text, key } = mintApiKey({
    owner,
    scopes: ['publish', 'read', 'consume', 'manage'],
    maySetPlace: true,
  });
  return { text, key: { ...key, scopes: [...key.scopes] } };
}
