/** Traffic is closed inside a SET: what one SET takes, its own database, broker and host handle, and nobody else's. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { areDeliveries, createClient, type Client } from '../stack/client.ts';
import { useStack } from '../stack/current-stack.ts';
import { deploy, freshPrefix, type Deployment } from '../stack/deployment.ts';
import { platforms, type RunningPlatform } from '../stack/platform.ts';
import { countRows } from '../stack/query.ts';

const units = ['hangzhou', 'frankfurt', 'virginia'] as const;

describe.each(platforms)('on $name', (platform) => {
  let deployment: Deployment;
  let server: RunningPlatform | undefined;
  let client: Client;

  beforeAll(async () => {
    deployment = await deploy(useStack(), freshPrefix('closed'), () => undefined);
    server = await platform.start(deployment);
    client = createClient(server.url, deployment);
  });
  afterAll(() => server?.stop());

  it('each SET stores, sends and delivers its own messages and no others', async () => {
    const order = { orderId: 'o', sku: 'tea', quantity: 1, city: 'x' };
    for (const [index, set] of units.entries()) {
      for (let n = 0; n <= index; n++) {
        const { body } = await client.publish({
          topic: 'orders',
          body: order,
          route: { set, fallback: 'only' },
        });
        const shown = await client.message(body.id, areDeliveries('DONE', 'inventory', 'receipt'));
        const hosts = shown.deliveries.flatMap(({ attempts }) => attempts.map(({ host }) => host));
        expect(hosts.every((host) => host.startsWith(`${set}-`))).toBe(true);
      }
    }
    const counts = (table: string) =>
      Promise.all(['center', ...units].map((set) => countRows([deployment.databaseUrls[set] ?? ''], table)));
    expect(await counts('message')).toEqual([0, 1, 2, 3]);
    expect(await counts('delivery')).toEqual([0, 2, 4, 6]);
  });
});
