/** `workerd serve` itself, on a worker's bundle: no Miniflare and no proxy between the load and the runtime. */
import { copyFile, mkdir, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { build } from 'esbuild';
import { unstable_getMiniflareWorkerOptions } from 'wrangler';
import { repoDir } from '../stack/ports.ts';
import { buildWorker } from '../stack/worker.ts';
import { startChild, type Child } from './child.ts';

export interface WorkerdOptions {
  /** For its configuration, its bundle and the storage of its objects. */
  readonly dir: string;
  readonly port: number;
  /** Text bindings. */
  readonly settings: Readonly<Record<string, string>>;
}

/** What `worker.js` in the folder is. */
interface Bundle {
  readonly className: string;
  /** Name of the binding of the object's namespace. */
  readonly binding: string;
}

/** Setway's worker, bundled by wrangler as for a deployment. */
export async function serveSetway(options: WorkerdOptions): Promise<Child> {
  const outDir = await buildWorker();
  await mkdir(options.dir, { recursive: true });
  await copyFile(path.join(outDir, 'worker.js'), path.join(options.dir, 'worker.js'));
  await rm(outDir, { recursive: true });
  return serve({ className: 'SetObject', binding: 'SET_HOST' }, options);
}

export async function serveBareObject(options: WorkerdOptions): Promise<Child> {
  const entry = `import { worker } from './bare-object.ts'; export * from './bare-object.ts'; export default worker;`;
  await build({
    stdin: { contents: entry, resolveDir: import.meta.dirname, loader: 'ts' },
    outfile: path.join(options.dir, 'worker.js'),
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'es2024',
    // amqplib is CommonJS: its requires of Node's modules must find them.
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire('/');" },
    external: ['node:*', 'cloudflare:*'],
  });
  return serve({ className: 'BareObject', binding: 'HOST' }, options);
}

async function serve(bundle: Bundle, { dir, port, settings }: WorkerdOptions): Promise<Child> {
  await rm(path.join(dir, 'objects'), { recursive: true, force: true });
  await mkdir(path.join(dir, 'objects'), { recursive: true });
  const config = path.join(dir, 'config.capnp');
  await writeFile(config, configOf(bundle, { dir, port, settings }));
  const url = `http://127.0.0.1:${port}`;
  const child = await startChild({
    name: 'workerd',
    command: workerdProgram(),
    args: ['serve', config],
  });
  await Promise.race([answering(url), child.failed]);
  return { ...child, url };
}

/** The program for this system, as the package of wrangler's own runtime names it: its wrapper forwards no signals. */
export function workerdProgram(): string {
  const requireHere = createRequire(import.meta.url);
  const { default: program } = createRequire(requireHere.resolve('miniflare'))('workerd') as {
    readonly default: string;
  };
  return program;
}

const startDeadlineMs = 20_000;

/** Any answer will do. */
async function answering(url: string): Promise<void> {
  const endMs = performance.now() + startDeadlineMs;
  for (;;) {
    try {
      await (await fetch(`${url}/health/live`)).arrayBuffer();
      return;
    } catch (error) {
      if (performance.now() > endMs) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

/** https://github.com/cloudflare/workerd/blob/main/src/workerd/server/workerd.capnp */
function configOf(bundle: Bundle, { dir, port, settings }: WorkerdOptions): string {
  const { workerOptions } = unstable_getMiniflareWorkerOptions(path.join(repoDir, 'wrangler.toml'));
  const flags = workerOptions['compatibilityFlags'] as readonly string[];
  const texts = Object.entries(settings).map(
    ([name, value]) => `(name = ${quoted(name)}, text = ${quoted(value)}),`,
  );
  return `
using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .main),
    (name = "internet", network = (allow = ["public", "private", "local"], tlsOptions = (trustBrowserCas = true))),
    (name = "objects", disk = (path = ${quoted(path.join(dir, 'objects'))}, writable = true)),
  ],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")],
);
const main :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "worker.js")],
  compatibilityDate = ${quoted(String(workerOptions['compatibilityDate']))},
  compatibilityFlags = [${flags.map(quoted).join(', ')}],
  bindings = [
    (name = ${quoted(bundle.binding)}, durableObjectNamespace = ${quoted(bundle.className)}),
    ${texts.join('\n    ')}
  ],
  durableObjectNamespaces = [(className = ${quoted(bundle.className)}, uniqueKey = ${quoted(bundle.className)}, enableSql = true)],
  durableObjectStorage = (localDisk = "objects"),
  globalOutbound = "internet",
);
`;
}

/** Cap'n Proto writes text as C does. */
function quoted(text: string): string {
  return JSON.stringify(text);
}
