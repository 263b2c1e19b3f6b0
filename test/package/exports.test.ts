/** What users import: built, loaded by plain Node under the package's own name, and type-checked as they would. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, expect, it } from 'vitest';
import manifest from '../../package.json' with { type: 'json' };
import { repoDir } from '../stack/ports.ts';

const run = promisify(execFile);
const tsc = path.join(repoDir, 'node_modules', 'typescript', 'bin', 'tsc');

beforeAll(async () => {
  await rm(path.join(repoDir, 'dist'), { recursive: true, force: true });
  await run(process.execPath, [tsc, '-p', 'tsconfig.build.json'], { cwd: repoDir });
});

it('every export loads in plain Node, without a build step of the user', async () => {
  const exportMap: Readonly<Record<string, unknown>> = manifest.exports;
  const names = Object.keys(exportMap).filter((name) => name !== './package.json');
  const imports = names
    .map((name) => `import * as m${names.indexOf(name)} from 'setway${name.slice(1)}';`)
    .join('\n');
  const script = `${imports}\nconsole.log(JSON.stringify([${names.map((_, index) => `Object.keys(m${index})`).join(',')}]));`;
  const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', script], { cwd: repoDir });
  const exported: Record<string, readonly string[]> = Object.fromEntries(
    (JSON.parse(stdout) as string[][]).map((keys, index) => [names[index] ?? '', keys] as const),
  );
  expect(exported).toMatchObject({
    './consumer': expect.arrayContaining([
      'webhookHandler',
      'NonRetryable',
      'answerLater',
      'deliveriesOf',
      'topics',
      'typed',
    ]) as string[],
    './consumer/node': ['nodeWebhook'],
    './consumer/testing': ['signedRequest'],
    './guard/memory': ['createMemoryGuard'],
    './redis/commands': ['redisThrough'],
    './consumer/hono': expect.arrayContaining(['webhook']) as string[],
    './guard/redis': ['createRedisGuard'],
    './once': expect.arrayContaining(['once', 'onceTogether', 'processedMessageTable']) as string[],
    './outbox': expect.arrayContaining(['install', 'outbox', 'outboxTable']) as string[],
    './redis': ['connectRedis'],
    './transaction': expect.arrayContaining([
      'answerCheck',
      'barrier',
      'checkHandler',
      'transactionTable',
    ]) as string[],
  });
});

it('a consumer type-checks against the declarations, and a wrong one does not', async () => {
  const dir = await mkdtemp(path.join(repoDir, '.setway-types-'));
  try {
    const consumer = (secret: string) => `
      import { webhookHandler } from 'setway/consumer';
      import { createRedisGuard } from 'setway/guard/redis';
      import { connectRedis } from 'setway/redis';
      const guard = createRedisGuard(connectRedis({ url: 'https://redis.example', token: 't' }));
      export const POST: (request: Request) => Promise<Response> = webhookHandler(
        { secrets: [${secret}], subscription: 'receipt', guard },
        async (message) => void message.json(),
      );`;
    const check = async (secret: string) => {
      await writeFile(path.join(dir, 'consumer.ts'), consumer(secret));
      const options = [
        '--noEmit',
        '--strict',
        '--skipLibCheck',
        '--module',
        'nodenext',
        '--target',
        'es2024',
        '--types',
        'node',
      ];
      return run(process.execPath, [tsc, '--ignoreConfig', ...options, path.join(dir, 'consumer.ts')], {
        cwd: repoDir,
      });
    };
    await check(`'whsec_x'`);
    await expect(check('42')).rejects.toMatchObject({ stdout: expect.stringContaining('TS2322') as string });
  } finally {
    await rm(dir, { recursive: true });
  }
});
