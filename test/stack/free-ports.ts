/** Whether the ports of a stack are free, asked before anything is started, so that the answer can say what helps. */
import { once } from 'node:events';
import { createServer } from 'node:net';

/**
 * @param ports by the name of what would listen there
 * @throws naming every taken port and the setting that moves the stack
 * @example await expectFreePorts({ redis: 18704 });
 */
export async function expectFreePorts(ports: Readonly<Record<string, number>>): Promise<void> {
  const found = await Promise.all(
    Object.entries(ports).map(async ([name, port]) => ((await isFree(port)) ? [] : [`${port} (${name})`])),
  );
  const taken = found.flat();
  if (taken.length === 0) return;
  throw new Error(
    [
      `Something else listens on ${taken.join(', ')}.`,
      'Stop it, or move this stack to other ports: SETWAY_PORT_BASE=21000 (20 ports are taken from there on).',
    ].join('\n'),
  );
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  server.listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
  } catch {
    return false;
  }
  server.close();
  await once(server, 'close');
  return true;
}
