/**
 * A TCP proxy for faults: it stands before a server, and a test makes it refuse, hang, or lose answers, without
 * touching the server that other tests use.
 */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/**
 * `open`: passes everything. `closed`: connections are cut and new ones refused. `mute`: what clients say arrives, what
 * the server answers does not.
 */
type ProxyMode = 'open' | 'closed' | 'mute';

export interface TcpProxy {
  readonly port: number;
  /** Bytes of answers that were lost while mute: shows that the fault happened. */
  readonly lostBytes: number;
  /** Connections refused while closed: shows that the fault happened. */
  readonly refused: number;
  /** A connection that lost an answer is cut by the next change: what comes later would not fit. */
  become(mode: ProxyMode): void;
  /** The same URL, by way of the proxy. */
  through(url: string): string;
  close(): Promise<void>;
}

/** @example const proxy = await startTcpProxy('postgres://127.0.0.1:5432'); proxy.become('closed'); */
export async function startTcpProxy(target: string): Promise<TcpProxy> {
  const { hostname, port: targetPort } = new URL(target);
  const sockets = new Set<Socket>();
  let mode: ProxyMode = 'open';
  let lostBytes = 0;
  let refused = 0;

  const cutAll = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  const keep = (socket: Socket, peer: Socket): void => {
    sockets.add(socket);
    socket.setNoDelay(true);
    // The other half goes too; why it went does not matter here.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      sockets.delete(socket);
      peer.destroy();
    });
  };

  const server = createServer((client) => {
    if (mode === 'closed') {
      refused++;
      client.destroy();
      return;
    }
    const upstream = connect(Number(targetPort), hostname);
    keep(client, upstream);
    keep(upstream, client);
    client.on('data', (bytes) => upstream.write(bytes));
    upstream.on('data', (bytes) => {
      if (mode === 'mute') lostBytes += bytes.length;
      else client.write(bytes);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    port,
    get lostBytes() {
      return lostBytes;
    },
    get refused() {
      return refused;
    },
    become(next) {
      if (next === 'closed' || mode === 'mute') cutAll();
      mode = next;
    },
    through(url) {
      const changed = new URL(url);
      changed.hostname = '127.0.0.1';
      changed.port = String(port);
      return changed.href;
    },
    async close() {
      const closed = once(server, 'close');
      server.close();
      cutAll();
      await closed;
    },
  };
}
