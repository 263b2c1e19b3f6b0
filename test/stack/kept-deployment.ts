/**
 * The deployment of `npm start`, kept in a file of the stack's folder: a second start uses the same data, API key and
 * secrets. The file holds them in the clear and belongs to its owner alone (mode 0600).
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { parseSeed, type SeedInput } from '../../shared/catalog/seed.ts';
import { createVhost, type StackAddresses } from './addresses.ts';
import { deploy, upgrade, type Deployment } from './deployment.ts';
import type { Log } from './part.ts';

const textByName = z.record(z.string(), z.string());
const keptSchema = z.object({
  /** The servers it was made for. */
  servers: z.object({ amqpUrl: z.string(), postgresUrl: z.string() }),
  deployment: z.object({
    prefix: z.string(),
    apiKey: z.string(),
    seed: z.custom<SeedInput>(),
    settings: textByName,
    consumerDatabaseUrl: z.string(),
    databaseUrls: textByName,
    brokerUrls: textByName,
  }),
});

export function deploymentFile(dir: string): string {
  return path.join(dir, 'deployment.json');
}

/** @throws when there is none, or it is not one of this version */
export function readDeployment(dir: string): Deployment {
  return keptSchema.parse(JSON.parse(readFileSync(deploymentFile(dir), 'utf8'))).deployment;
}

/** How a deployment is made when none is kept, and its vhosts when the brokers have new data. */
export interface DeploymentMaker {
  make(log: Log): Promise<Deployment>;
  createVhost(set: string, vhost: string): Promise<void>;
}

function onOneBroker(addresses: StackAddresses): DeploymentMaker {
  return {
    make: (log) => deploy(addresses, 'setway', log, inStep),
    createVhost: (_set, vhost) => createVhost(addresses, vhost),
  };
}

/**
 * The kept deployment with migrations that are new applied, or a new one.
 *
 * @throws when the kept one does not fit the stack or this version, with the remedy
 */
export async function openDeployment(
  addresses: StackAddresses,
  log: Log,
  maker: DeploymentMaker = onOneBroker(addresses),
): Promise<Deployment> {
  const file = deploymentFile(addresses.dir);
  const servers = { amqpUrl: addresses.amqpUrl, postgresUrl: addresses.postgresUrl };
  if (existsSync(file)) return reopen(file, servers, { maker, log });
  const deployment = await maker.make(log);
  writeFileSync(file, JSON.stringify({ servers, deployment }, null, 2), { mode: 0o600 });
  return deployment;
}

/**
 * Webhook calls at once, per subscription and SET host. All consumers of this machine share one database and its few
 * connections; with the default of 32, 256 calls wait for them until they time out, are tried again, and end up dead.
 */
const concurrency = 4;

export function inStep(seed: SeedInput): SeedInput {
  return {
    ...seed,
    subscriptions: seed.subscriptions?.map((subscription) => ({ ...subscription, concurrency })),
  };
}

async function reopen(
  file: string,
  servers: z.infer<typeof keptSchema>['servers'],
  { maker, log }: { readonly maker: DeploymentMaker; readonly log: Log },
): Promise<Deployment> {
  try {
    const kept = keptSchema.parse(JSON.parse(readFileSync(file, 'utf8')));
    const moved = Object.entries(servers).find(
      ([name, url]) => kept.servers[name as keyof typeof servers] !== url,
    );
    if (moved) throw new Error(`It was made for other servers (${moved[0]}).`);
    const { deployment } = kept;
    parseSeed(deployment.seed); // an older version may have meant another shape
    const vhosts = Object.entries(deployment.brokerUrls).map(
      ([set, url]) => [set, decodeURIComponent(new URL(url).pathname.slice(1))] as const,
    );
    await Promise.all(vhosts.map(([set, vhost]) => maker.createVhost(set, vhost)));
    await upgrade(deployment, log);
    return deployment;
  } catch (error) {
    throw new Error(
      `The deployment kept in ${file} cannot be used: ${error instanceof Error ? error.message : String(error)}\n` +
        'Begin anew with --fresh (it erases the messages kept there), or see to that.',
      { cause: error },
    );
  }
}
