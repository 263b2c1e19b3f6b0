/** `setway`: what operators do from a shell. */
import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { mintApiKey, type Scope } from '../../shared/catalog/api-key.ts';
import { parseSeed } from '../../shared/catalog/seed.ts';
import { asProblem, Problem } from '../../shared/problem.ts';
import { createSealer } from '../../shared/sealed.ts';
import { readSettings } from '../../shared/settings.ts';
import { createKeyPair } from '../../shared/webhook/asymmetric-key.ts';
import { createWebhookSecret } from '../../shared/webhook/signature.ts';
import { webhookPolicy } from '../assemble.ts';
import { openDrivers } from '../node/drivers.ts';
import { applySeed } from './apply.ts';
import { reseal } from './reseal.ts';
import { runRoutes } from './routes.ts';
import { runSets } from './sets.ts';

const help = `setway — operate a Setway deployment

  setway apply FILE        check a seed (topics, subscriptions, SETs, routes, keys), migrate every
                           database it names, and write it as the next version of the catalog
  setway check FILE        only check it
  setway reseal            seal the secrets of the catalog again under the first of SETWAY_ENCRYPTION_KEYS;
                           after it the others can go
  setway sets ACTION       create, watch, drain and retire SETs: setway sets --help
  setway routes ACTION     see and move who has which keys: setway routes --help
  setway secrets create [--asymmetric]
                           print a new signing secret (whsec_), or a key pair (whsk_ to sign, whpk_ to verify)
  setway keys create --owner NAME --scopes publish,read [--may-set-place]
                           print a new API key once, and the entry for the seed's "keys"

Settings come from the environment; shared/settings.ts lists them.
`;

const commands: Readonly<Record<string, (args: readonly string[]) => Promise<void>>> = {
  apply: async ([file]) => {
    const seed = await readSeed(file);
    const settings = readSettings(process.env);
    const drivers = openDrivers(settings);
    try {
      const sealer = createSealer(settings.SETWAY_ENCRYPTION_KEYS);
      const policy = webhookPolicy(settings);
      const catalogUrls = settings.SETWAY_CATALOG_DATABASES;
      const version = await applySeed({ sealer, catalogUrls, policy, report: print }, seed);
      print(`The catalog is at version ${version}.`);
    } finally {
      await drivers.close();
    }
  },
  reseal: async () => {
    const settings = readSettings(process.env);
    const drivers = openDrivers(settings);
    try {
      const sealer = createSealer(settings.SETWAY_ENCRYPTION_KEYS);
      const catalogUrls = settings.SETWAY_CATALOG_DATABASES;
      const version = await reseal({ sealer, catalogUrls });
      print(`The catalog is at version ${version}; every secret in it is sealed under the first key.`);
    } finally {
      await drivers.close();
    }
  },
  routes: (args) => runRoutes(args, print),
  secrets: ([action, ...rest]) => {
    if (action !== 'create')
      throw new Problem('invalid-request', 'Did you mean "setway secrets create"? See setway --help.');
    const { values } = parseArgs({ args: [...rest], options: { asymmetric: { type: 'boolean' } } });
    const { secretKey, publicKey } = createKeyPair();
    print(values.asymmetric === true ? `${secretKey}\n${publicKey}` : createWebhookSecret());
    return Promise.resolve();
  },
  sets: (args) => runSets(args, print),
  check: async ([file]) => {
    const seed = await readSeed(file);
    print(
      `Fine: ${seed.sets.length} SETs, ${seed.topics.length} topics, ${seed.subscriptions.length} subscriptions.`,
    );
  },
  keys: ([action, ...rest]) => {
    if (action !== 'create')
      throw new Problem('invalid-request', 'Did you mean "setway keys create"? See setway --help.');
    createKey(rest);
    return Promise.resolve();
  },
};

function createKey(args: readonly string[]): void {
  const options = {
    owner: { type: 'string', default: 'default' },
    scopes: { type: 'string', default: 'publish,read' },
    'may-set-place': { type: 'boolean', default: false },
  } as const;
  const { values } = parseArgs({ args: [...args], options });
  const scopes = values.scopes.split(',').map((scope) => asScope(scope.trim()));
  const { text, key } = mintApiKey({ owner: values.owner, scopes, maySetPlace: values['may-set-place'] });
  print(
    `The key, shown only now:\n\n  ${text}\n\nIts entry for the seed:\n\n${JSON.stringify(key, null, 2)}`,
  );
}

function asScope(text: string): Scope {
  if (text === 'publish' || text === 'read' || text === 'consume' || text === 'manage') return text;
  throw new Problem('invalid-request', `There is no scope "${text}": publish, read, consume, manage.`);
}

async function readSeed(file: string | undefined) {
  if (file === undefined) throw new Problem('invalid-request', 'Name the seed file: setway apply seed.json');
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw new Problem('not-found', `The file ${file} cannot be read.`, { cause: error });
  });
  try {
    return parseSeed(JSON.parse(text));
  } catch (error) {
    if (error instanceof SyntaxError)
      throw new Problem('invalid-json', `${file}: ${error.message}`, { cause: error });
    throw error;
  }
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

const [name = '--help', ...args] = process.argv.slice(2);
const command = commands[name];
if (command) {
  try {
    await command(args);
  } catch (error) {
    process.stderr.write(`${asProblem(error).message}\n`);
    process.exitCode = 1;
  }
} else {
  print(help);
  process.exitCode = name === '--help' || name === 'help' ? 0 : 2;
}
