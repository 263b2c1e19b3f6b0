/** What `npm run stack:ha` prints when everything is there: where things are, and what to kill and see. */
import path from 'node:path';
import type { Deployment } from './deployment.ts';
import { haSets, type HaSet, type HaStack } from './ha-stack.ts';
import type { SetProcess } from './set-process.ts';

export function haWelcome(
  stack: HaStack,
  { deployment, edges }: { readonly deployment: Deployment; readonly edges: readonly SetProcess[] },
): string {
  const sets = haSets.map((id) => stack.sets[id]);
  const [edge] = edges;
  const order = JSON.stringify({ orderId: 'o-1', sku: 'tea', quantity: 1, city: 'Hangzhou' });
  const publish = `curl -s -w '\\n' ${edge?.url ?? ''}/v1/topics/orders/messages -H 'Prefer: wait=5' -H 'Authorization: Bearer ${deployment.apiKey}' -H 'Content-Type: application/json' -H 'Setway-Latitude: 30.25' -H 'Setway-Longitude: 120.17' -d '${order}'`;
  return [
    '',
    ...sets.flatMap((set) => [
      `  ${set.id}`,
      ...placesOf(
        set,
        edges.find(({ id }) => id === set.id),
      ).map(([name, value]) => `    ${name.padEnd(11)} ${value}`),
    ]),
    `  Postgres      ${stack.base.addresses.postgresUrl}`,
    `  Redis         ${stack.base.redisUrl}`,
    `  API key       ${deployment.apiKey}`,
    '',
    'Publish, and wait for the confirm of two nodes of three:',
    publish,
    'The nodes, as RabbitMQ and HAProxy see them:',
    `curl -s -u guest:guest '${withoutUser(sets[0]?.managementUrl)}/api/nodes?columns=name,running'`,
    `curl -s '${sets[0]?.statusUrl ?? ''};csv' | cut -d, -f1,2,18 | grep ^nodes`,
    'Kill a node, publish again; it is started again after 15 s:',
    `kill -9 $(cat ${near(path.join(stack.base.addresses.dir, '..', 'hangzhou', 'node-2', 'pid'))})`,
    'Kill a whole SET: its nodes and its Setway; then publish to the other one:',
    `kill -9 $(cat ${near(path.join(stack.base.addresses.dir, '..', 'hangzhou'))}/node-*/pid) ${edge?.pid ?? ''}`,
    ...(sets[0]?.virtualAddress ? killBalancer(sets[0].virtualAddress.machines[0].balancer.pid) : []),
    '',
    'Stop: Ctrl-C',
  ].join('\n');
}

function placesOf(set: HaSet, edge: SetProcess | undefined): readonly (readonly [string, string])[] {
  const { virtualAddress, cluster } = set;
  return [
    ['Setway', edge ? `${edge.url} (log ${near(edge.logFile)})` : ''],
    [
      'RabbitMQ',
      `${set.brokerUrl('setway_' + set.id)} (${virtualAddress ? 'two HAProxies, Keepalived' : 'HAProxy'})`,
    ],
    ['nodes', cluster.nodes.map(({ address }) => `${address}:${cluster.ports.amqp}`).join(', ')],
    ['management', `${withoutUser(set.managementUrl)} (user guest, password guest)`],
    ['HAProxy', set.statusUrl],
  ];
}

function killBalancer(pid: number | undefined): readonly string[] {
  return [
    'Kill the HAProxy that has the address; the address moves to the other one:',
    `kill -9 ${pid ?? ''}`,
  ];
}

function withoutUser(url = ''): string {
  return new URL(url).origin;
}

function near(file: string): string {
  const relative = path.relative(process.cwd(), file);
  return relative.startsWith('..') ? path.resolve(file) : relative;
}
