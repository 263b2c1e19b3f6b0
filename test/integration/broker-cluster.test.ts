/**
 * A SET on a cluster of three RabbitMQ nodes with several broker URLs, the way without HAProxy: the node its host is
 * connected to is killed while orders keep coming. More of this, on two SETs behind HAProxy: `npm run test:ha`.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startNodeHost, type NodeHost } from '../chaos/node-host.ts';
import { effectsOnce, setSceneOn, type Scene } from '../chaos/storm.ts';
import { startDeadlineMs, tellFiguresOfBroker, testDeadlineMs, weatherHa } from '../ha/ha-scene.ts';
import { connectedNodes, killNode } from '../ha/strikes.ts';
import { amqpUrlOf, createVhost } from '../stack/addresses.ts';
import { createCluster, type Cluster, type ClusterNode } from '../stack/cluster.ts';
import { ownServersOnly, privatePlace, useStack } from '../stack/current-stack.ts';
import { deploy, directSettings } from '../stack/deployment.ts';
import { findSources } from '../stack/packages.ts';
import { until as untilPasses } from '../stack/part.ts';
import { portsFrom } from '../stack/ports.ts';
import { stopLeftovers } from '../stack/server-process.ts';
import { until } from '../stack/until.ts';

const { rabbitmq } = (await findSources(ownServersOnly(), () => {})).programs;
const place = privatePlace(0);
const ports = portsFrom(place.portBase);
const vhost = 'orders';

let cluster: Cluster;
let scene: Scene;
let host: NodeHost;
const stops: (() => Promise<void>)[] = [];

describe.skipIf(rabbitmq === undefined)('a SET of three nodes', () => {
  beforeAll(async () => {
    const erlang = [ports.erlang, place.portBase + 11, place.portBase + 12] as const;
    cluster = createCluster({
      program: '',
      epmdProgram: '',
      ...rabbitmq,
      dir: place.dir,
      ports: { ...ports, erlang },
    });
    await stopLeftovers(place.dir); // of a run that was killed
    stops.push(() => cluster.stop());
    await cluster.start();
    const [{ managementUrl }] = cluster.nodes;
    // The nodes have just joined, and may be busy with that.
    await untilPasses(() => createVhost({ ...useStack(), managementUrl }, vhost), 60_000);
    const brokerUrls = cluster.nodes.map(({ amqpUrl }) => amqpUrlOf({ amqpUrl }, vhost));
    scene = await setSceneOn({
      webhookPort: ports.webhooks,
      redisUrl: useStack().redisUrl,
      deploy: (prefix, change) =>
        deploy(
          useStack(),
          prefix,
          () => {},
          (seed) => {
            const { sets, ...rest } = change(seed);
            return {
              ...rest,
              sets: sets.map((set) => (set.id === 'hangzhou' ? { ...set, brokerUrls } : set)),
            };
          },
        ),
    });
    stops.push(() => scene.stop());
    host = await startNodeHost({ ...scene.settings, ...directSettings(useStack()), SETWAY_PORT: '0' });
    stops.push(() => host.stop());
    await cluster.syncQueueNames();
  }, startDeadlineMs);
  afterAll(async () => {
    for (const stop of stops.toReversed()) await stop();
  });

  // A second try finds all three again.
  afterEach(async () => {
    for (const node of cluster.nodes) await node.start();
  }, startDeadlineMs);
  /** The nodes that the host is connected to, as the first of these knows it; undefined for none of them. */
  const connectedTo = async (
    nodes: readonly ClusterNode[],
  ): Promise<readonly [ClusterNode, ...ClusterNode[]] | undefined> => {
    const [witness] = nodes;
    const connected = witness ? await connectedNodes(cluster, witness, vhost) : [];
    const [node, ...others] = connected.filter((each) => nodes.includes(each));
    return node && [node, ...others];
  };

  test(
    'the node its host is connected to is killed: it goes on through another, and every 202 stays true',
    async () => {
      const result = await weatherHa(scene, {
        urls: [host.url],
        strike: async () => {
          const [victim] = await until(20_000, () => connectedTo(cluster.nodes));
          await killNode(victim);
          await until(20_000, () => connectedTo(cluster.nodes.filter((node) => node !== victim)));
        },
      });
      tellFiguresOfBroker('kill -9 of the node the host is connected to, three URLs', result);
      expect(result.books).toMatchObject(effectsOnce);
    },
    testDeadlineMs,
  );
});
