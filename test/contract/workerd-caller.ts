/** `PostWebhook` as it is on Cloudflare: a worker on workerd whose `fetch` makes the call. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { build } from 'esbuild';
import type { WebhookAnswer } from '../../shared/webhook/outcome.ts';
import { workerdProgram } from '../bench/workerd.ts';

export interface WorkerdCaller {
  readonly post: (url: string, timeoutMs: number) => Promise<WebhookAnswer>;
  /** Process id of workerd. */
  readonly pid: number;
  stop(): Promise<void>;
}

/** @param reach `public`: the network as it is in production, by the flag `global_fetch_strictly_public` */
export async function startWorkerdCaller(reach: 'public' | 'anywhere'): Promise<WorkerdCaller> {
  const dir = await mkdtemp(path.join(tmpdir(), 'setway-caller-'));
  await build({
    stdin: {
      contents: `import { handle } from './webhook-worker.ts'; export default { fetch: handle };`,
      resolveDir: import.meta.dirname,
      loader: 'ts',
    },
    outfile: path.join(dir, 'worker.js'),
    bundle: true,
    format: 'esm',
    target: 'es2024',
    external: ['node:*'],
  });
  await writeFile(path.join(dir, 'config.capnp'), configOf(reach));
  // It tells its port on the fourth descriptor.
  const child = spawn(workerdProgram(), ['serve', path.join(dir, 'config.capnp'), '--control-fd=3'], {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
  });
  const exited = once(child, 'exit');
  const [line] = (await once(createInterface(child.stdio[3] as Readable), 'line')) as [string];
  const { port } = JSON.parse(line) as { readonly port: number };
  return {
    pid: child.pid ?? 0,
    async post(url, timeoutMs) {
      const body = JSON.stringify({ url, timeoutMs });
      const response = await fetch(`http://127.0.0.1:${port}/`, { method: 'POST', body });
      return (await response.json()) as WebhookAnswer;
    },
    async stop() {
      child.kill('SIGKILL');
      await exited;
      await rm(dir, { recursive: true });
    },
  };
}

/** https://github.com/cloudflare/workerd/blob/main/src/workerd/server/workerd.capnp */
function configOf(reach: 'public' | 'anywhere'): string {
  const allowed = reach === 'public' ? '"public"' : '"public", "private", "local"';
  return `
using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .main),
    (name = "internet", network = (allow = [${allowed}], tlsOptions = (trustBrowserCas = true))),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);
const main :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "worker.js")],
  compatibilityDate = "2026-10-01",
  compatibilityFlags = ["nodejs_compat", "global_fetch_strictly_public"],
  globalOutbound = "internet",
);
`;
}
