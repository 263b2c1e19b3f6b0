/** Receivers that misbehave on a bare socket, and what a call of them comes back as. */
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { gzipSync } from 'node:zlib';

export interface Hostile {
  readonly name: string;
  /** Called with each request's first bytes. */
  readonly misbehave: (socket: Socket) => void;
  /** `error`: no answer that counts; a number: the status counts; both where platforms may differ. */
  readonly comesBackAs: readonly ('error' | number)[];
}

/** How long a call of the table may take. */
export const hostileTimeoutMs = 1_000;
const dripMs = 500;

function drip(socket: Socket, part: string): void {
  const timer = setInterval(() => socket.write(part), dripMs);
  socket.once('close', () => clearInterval(timer));
}

function pour(socket: Socket, part: string): void {
  const more = (): void => {
    while (socket.writable && socket.write(part));
  };
  socket.on('drain', more);
  more();
}

const ok = 'HTTP/1.1 200 OK\r\n';

/** 200 MiB of zeros in one stream of 200 KiB. */
const bomb = gzipSync(Buffer.alloc(200 * 2 ** 20), { level: 9 });

export const hostiles: readonly Hostile[] = [
  { name: 'never answers', misbehave: () => undefined, comesBackAs: ['error'] },
  {
    name: 'drips a byte of its status line each half second',
    misbehave: (socket) => drip(socket, 'H'),
    comesBackAs: ['error'],
  },
  {
    name: 'drips a byte of its body each half second',
    misbehave: (socket) => {
      socket.write(`${ok}content-length: 100\r\n\r\n`);
      drip(socket, '.');
    },
    comesBackAs: ['error'],
  },
  {
    name: 'sends headers without end',
    misbehave: (socket) => {
      socket.write(ok);
      pour(socket, `x-more: ${'y'.repeat(4_000)}\r\n`);
    },
    comesBackAs: ['error'],
  },
  {
    name: 'sends a header of 1 MiB',
    misbehave: (socket) => socket.end(`${ok}x: ${'y'.repeat(2 ** 20)}\r\n\r\n`),
    comesBackAs: ['error'],
  },
  {
    name: 'sends informational answers without end',
    misbehave: (socket) => pour(socket, 'HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n'),
    comesBackAs: ['error'],
  },
  {
    name: 'sends a body without end',
    misbehave: (socket) => {
      socket.write(`${ok}transfer-encoding: chunked\r\n\r\n`);
      pour(socket, `1000\r\n${'z'.repeat(0x1000)}\r\n`);
    },
    comesBackAs: [200],
  },
  {
    name: 'sends 200 MiB in 200 KiB of gzip',
    misbehave: (socket) => {
      socket.write(`${ok}content-encoding: gzip\r\ncontent-length: ${bomb.length}\r\n\r\n`);
      socket.end(bomb);
    },
    comesBackAs: [200],
  },
  {
    name: 'processes the message and resets',
    misbehave: (socket) => socket.resetAndDestroy(),
    comesBackAs: ['error'],
  },
  {
    name: 'resets amid its body',
    misbehave: (socket) => {
      socket.write(`${ok}content-length: 100\r\n\r\nhalf`, () =>
        setTimeout(() => socket.resetAndDestroy(), 20),
      );
    },
    comesBackAs: ['error'],
  },
  {
    name: 'promises more than it sends',
    misbehave: (socket) => socket.end(`${ok}content-length: 100\r\n\r\nhalf`),
    comesBackAs: ['error'],
  },
  {
    name: 'sends more than it promises',
    misbehave: (socket) => socket.end(`${ok}content-length: 2\r\n\r\nokHTTP/1.1 500 Smuggled\r\n\r\n`),
    comesBackAs: [200, 'error'],
  },
  {
    name: 'promises two lengths',
    misbehave: (socket) => socket.end(`${ok}content-length: 2\r\ncontent-length: 3\r\n\r\nok!`),
    comesBackAs: ['error', 200],
  },
  {
    name: 'promises a negative length',
    misbehave: (socket) => socket.end(`${ok}content-length: -1\r\n\r\n`),
    comesBackAs: ['error', 200],
  },
  {
    name: 'sends a chunk of nonsense',
    misbehave: (socket) => socket.end(`${ok}transfer-encoding: chunked\r\n\r\nZZ\r\n`),
    comesBackAs: ['error'],
  },
  {
    name: 'ends amid a chunk',
    misbehave: (socket) => socket.end(`${ok}transfer-encoding: chunked\r\n\r\n10\r\nhalf`),
    comesBackAs: ['error'],
  },
  {
    name: 'speaks no HTTP',
    misbehave: (socket) => socket.end('220 mail.example.com ESMTP\r\n'),
    comesBackAs: ['error'],
  },
  {
    name: 'switches protocols',
    misbehave: (socket) =>
      socket.end('HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n'),
    comesBackAs: ['error', 101],
  },
  {
    name: 'redirects to itself for ever',
    misbehave: (socket) => socket.end('HTTP/1.1 307 Again\r\nlocation: /\r\ncontent-length: 0\r\n\r\n'),
    comesBackAs: [307],
  },
  {
    name: 'redirects to the metadata of a cloud',
    misbehave: (socket) =>
      socket.end(
        'HTTP/1.1 302 There\r\nlocation: http://169.254.169.254/latest\r\ncontent-length: 0\r\n\r\n',
      ),
    comesBackAs: [302],
  },
];

export interface HostileReceiver {
  readonly url: string;
  /** Requests seen so far. */
  readonly requests: () => number;
  close(): Promise<void>;
}

/** Misbehaves while `isHostile`, and answers 204 otherwise. */
export async function startHostile(
  { misbehave }: Pick<Hostile, 'misbehave'>,
  isHostile: () => boolean,
): Promise<HostileReceiver> {
  const sockets = new Set<Socket>();
  let requests = 0;
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined); // connections break on purpose
    socket.on('data', (part) => {
      if (!part.toString('latin1').startsWith('POST ')) return;
      requests++;
      if (isHostile()) misbehave(socket);
      else socket.write('HTTP/1.1 204 No Content\r\n\r\n');
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`,
    requests: () => requests,
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
