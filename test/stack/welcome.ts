/** What `npm start` prints when everything is there: where things are, and what to try. */
import path from 'node:path';
import type { FirstOrder } from './first-order.ts';
import type { LocalSetway } from './local-setway.ts';

/** @param first an order whose timeline can be read */
export function welcome(setway: LocalSetway, first: FirstOrder): string {
  const { url, addresses, deployment } = setway;
  const management = new URL(addresses.managementUrl);
  const databases = [...Object.values(deployment.databaseUrls), deployment.consumerDatabaseUrl];
  const [postgres = '', ...others] = databases.map((database) => new URL(database));
  const names = others.map((other) => new URL(other).pathname.slice(1)).join(', ');
  const places = [
    ['Edge', `${url} (${setway.platform === 'node' ? 'Node' : setway.platform})`],
    ['OpenAPI', `${url}/openapi.json`],
    ['API key', deployment.apiKey],
    ['RabbitMQ', `${management.origin} (user ${management.username}, password ${management.password})`],
    ['Postgres', `${String(postgres)} (also ${names})`],
    ['Redis', addresses.redisUrl],
    ['Log', nearPath(setway.logFile)],
  ] as const;
  return [
    '',
    ...places.map(([name, value]) => `  ${name.padEnd(9)} ${value}`),
    '',
    'Publish near Hangzhou:',
    publishLine(setway, { city: 'Hangzhou', latitude: 30.25, longitude: 120.17 }),
    'Publish near Frankfurt:',
    publishLine(setway, { city: 'Frankfurt', latitude: 50.11, longitude: 8.68 }),
    "Read a message's timeline:",
    curlLine(setway, `/v1/messages/${first.id}`),
    '',
    '10,000 orders from real cities: npm run demo      Stop: Ctrl-C',
  ].join('\n');
}

function nearPath(file: string): string {
  const relative = path.relative(process.cwd(), file);
  return relative.startsWith('..') ? file : relative;
}

interface Town {
  readonly city: string;
  readonly latitude: number;
  readonly longitude: number;
}

function publishLine(setway: LocalSetway, { city, latitude, longitude }: Town): string {
  const order = { orderId: `${city.toLowerCase()}-1`, sku: 'tea', quantity: 1, city };
  return curlLine(setway, '/v1/topics/orders/messages', [
    "-H 'Content-Type: application/json'",
    `-H 'Setway-Latitude: ${latitude}' -H 'Setway-Longitude: ${longitude}'`,
    `-d '${JSON.stringify(order)}'`,
  ]);
}

/** One line, so that it survives being copied; `-w` ends the answer's line. */
function curlLine(
  { url, deployment }: LocalSetway,
  pathname: string,
  options: readonly string[] = [],
): string {
  const authorization = `-H 'Authorization: Bearer ${deployment.apiKey}'`;
  return ['curl -s', String.raw`-w '\n'`, `${url}${pathname}`, authorization, ...options].join(' ');
}
