/**
 * Upstash's REST protocol in front of any Redis (https://upstash.com/docs/redis/features/restapi).
 *
 * A command is a JSON array POSTed to `/`; `/pipeline` takes many, in order but not atomic; `/multi-exec` takes many
 * as one MULTI ... EXEC. The answer is `{result}` or `{error}`, one per command. With `Upstash-Encoding: base64` the
 * strings of results are base64, except `OK`. In-process, `requester` stands for Upstash's own HTTP client.
 *
 * Replies pass unshaped, as Redis sends them: HGETALL is a flat array, a score a string; Upstash's client does the
 * shaping. A transaction is written to the one connection in a single synchronous burst, so nothing comes between.
 * Commands that were sent when the connection broke are never sent again: INCR twice is worse than an error.
 */
import { once } from 'node:events';
import { Command, Redis } from 'ioredis';
import { Problem } from '../../shared/problem.ts';
import { serveBridge, type BridgeAnswer, type BridgeRequest, type BridgeServer } from './bridge-server.ts';

/** What Upstash's client asks: `new Redis(requester)` of `@upstash/redis` takes one of these. */
export interface UpstashRequester {
  readonly readYourWrites: false;
  request<Result = unknown>(request: UpstashRequest): Promise<UpstashReply<Result>>;
  /** Waits for running commands and closes the connection. */
  close(): Promise<void>;
}

export interface UpstashRequest {
  readonly path?: string[];
  readonly body?: unknown;
  readonly signal?: AbortSignal | (() => AbortSignal);
}

export interface UpstashReply<Result> {
  readonly result?: Result;
  readonly error?: string;
}

/** An answer of Redis that is an error, such as WRONGTYPE; the same name and text as Upstash's own error. */
export class RedisReplyError extends Error {
  override readonly name = 'UpstashError';
}

/** These change the state of the connection, which all callers share, or block it. Upstash refuses them as well. */
const refusedCommands = new Set(
  'subscribe psubscribe ssubscribe unsubscribe punsubscribe sunsubscribe monitor multi exec discard watch unwatch select auth hello quit reset client blpop brpop brpoplpush blmove blmpop bzpopmin bzpopmax bzmpop wait waitaof sync psync'.split(
    ' ',
  ),
);

/**
 * The in-process requester.
 *
 * @throws `redis-unavailable` when Redis is away, within about 2 s; RedisReplyError when Redis answers an error
 * @example
 * const requester = upstashRequester('redis://127.0.0.1:6379');
 * const redis = new Redis(requester); // from '@upstash/redis'
 */
export function upstashRequester(redisUrl: string): UpstashRequester {
  const redis = connect(redisUrl);
  return {
    readYourWrites: false,
    request: async <Result>({ path, body, signal }: UpstashRequest) => {
      const work = answerCommand(redis, path?.[0] ?? '', body);
      const { status, json } = await unlessAborted(work, typeof signal === 'function' ? signal() : signal);
      if (status === 200) return json as UpstashReply<Result>;
      throw new RedisReplyError(`${(json as { error: string }).error}, command was: ${JSON.stringify(body)}`);
    },
    close: () => close(redis),
  };
}

export interface UpstashBridgeOptions {
  readonly redisUrl: string;
  /** The bearer token that clients must show. */
  readonly token: string;
}

/**
 * The same over HTTP, for runtimes without TCP to Redis.
 *
 * @param port on 127.0.0.1; 0 takes a free one
 */
export async function serveUpstashBridge(
  port: number,
  { redisUrl, token }: UpstashBridgeOptions,
): Promise<BridgeServer> {
  const redis = connect(redisUrl);
  const server = await serveBridge(port, (request) => answerHttp(redis, token, request));
  const closeBoth = async () => {
    await server.close();
    await close(redis);
  };
  return { url: server.url, close: closeBoth };
}

async function answerHttp(
  redis: Redis,
  token: string,
  { path, headers, body }: BridgeRequest,
): Promise<BridgeAnswer> {
  if (headers['authorization'] !== `Bearer ${token}`) return { status: 401, json: { error: 'Unauthorized' } };
  const segments = new URL(path, 'http://bridge').pathname.split('/').filter(Boolean).map(decodeURIComponent);
  const isMany = segments[0] === 'pipeline' || segments[0] === 'multi-exec';
  try {
    const command =
      isMany || segments.length === 0
        ? (JSON.parse(body) as unknown)
        : [...segments, ...(body === '' ? [] : [body])];
    const answer = await answerCommand(redis, isMany ? (segments[0] ?? '') : '', command);
    return headers['upstash-encoding'] === 'base64' && answer.status === 200 ? encoded(answer) : answer;
  } catch (error) {
    if (error instanceof Problem) return { status: error.status, json: { error: error.message } };
    if (error instanceof SyntaxError)
      return { status: 400, json: { error: 'ERR failed to parse the request body as JSON' } };
    throw error;
  }
}

async function answerCommand(redis: Redis, path: string, body: unknown): Promise<BridgeAnswer> {
  try {
    if (path === 'pipeline') return { status: 200, json: await pipeline(redis, body as unknown[]) };
    if (path === 'multi-exec') return { status: 200, json: await multiExec(redis, body as unknown[]) };
    return { status: 200, json: { result: await send(redis, parse(body)) } };
  } catch (error) {
    if (isReplyError(error)) return { status: 400, json: { error: error.message } };
    throw new Problem('redis-unavailable', 'Redis does not answer; it may be stopped.', { cause: error });
  }
}

async function pipeline(redis: Redis, commands: readonly unknown[]): Promise<UpstashReply<unknown>[]> {
  return Promise.all(
    commands.map((command) =>
      attempt(() => send(redis, parse(command))).then(
        (result) => ({ result }),
        (error: unknown) => {
          if (isReplyError(error)) return { error: error.message };
          throw error;
        },
      ),
    ),
  );
}

/** Every command is checked before MULTI is sent: a refusal in between would leave the transaction open for others. */
async function multiExec(redis: Redis, body: readonly unknown[]): Promise<UpstashReply<unknown>[]> {
  const commands = body.map(parse);
  await ready(redis);
  const replies = await Promise.allSettled(
    [['MULTI'], ...commands, ['EXEC']].map((command) => send(redis, command)),
  );
  const failed = replies.find((reply) => reply.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
  const executed = replies.at(-1) as PromiseFulfilledResult<unknown[]>;
  return executed.value.map((result) => (result instanceof Error ? { error: result.message } : { result }));
}

/** Before it is ready ioredis queues most commands but writes some at once, MULTI and EXEC among them. */
async function ready(redis: Redis): Promise<void> {
  if (redis.status === 'ready') return;
  const settled = new AbortController();
  const event = (name: string) => once(redis, name, { signal: settled.signal }).then(() => name);
  const first = await Promise.race([event('ready'), event('close'), event('end')]).finally(() =>
    settled.abort(),
  );
  if (first !== 'ready') throw new Error('the connection to Redis is closed');
}

/** Upper-case names: ioredis shapes replies by the lower-case name, and here they must stay as Redis sent them. */
function send(redis: Redis, [name = '', ...args]: readonly string[]): Promise<unknown> {
  gather(redis);
  return redis.sendCommand(
    new Command(name.toUpperCase(), args, { replyEncoding: 'utf8' }),
  ) as Promise<unknown>;
}

const gathering = new WeakSet<Redis['stream']>();

/** What is sent in one turn of the event loop leaves in one write: a system call for each would cost more than the rest. */
function gather({ stream }: { readonly stream?: Redis['stream'] }): void {
  if (!stream || gathering.has(stream)) return;
  gathering.add(stream);
  stream.cork();
  setImmediate(() => {
    gathering.delete(stream);
    stream.uncork();
  });
}

function parse(command: unknown): string[] {
  if (!Array.isArray(command) || command.length === 0)
    throw new RedisReplyError('ERR failed to parse command');
  const words = command.map(toArgument);
  if (refusedCommands.has((words[0] ?? '').toLowerCase())) {
    throw new RedisReplyError(`ERR Command is not available: '${words[0]}'`);
  }
  return words;
}

function toArgument(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/**
 * One connection. It retries for ever, and every failed attempt rejects what waits for it, so an outage is reported
 * after the retry delay of 100 ms when refused, and after the connect timeout of 2 s when nothing answers;
 * a connection that owes an answer for 5 s is given up.
 */
function connect(redisUrl: string): Redis {
  const redis = new Redis(redisUrl, {
    protocol: 2,
    disableClientInfo: true,
    connectTimeout: 2_000,
    socketTimeout: 5_000,
    maxRetriesPerRequest: 0,
    retryStrategy: () => 100,
    autoResendUnfulfilledCommands: false,
  });
  redis.on('error', () => {}); // every waiting command is rejected with it; unheard, ioredis would print it
  return redis;
}

async function close(redis: Redis): Promise<void> {
  await redis.quit().catch(() => redis.disconnect());
}

function isReplyError(error: unknown): error is Error {
  return error instanceof Error && (error.name === 'ReplyError' || error instanceof RedisReplyError);
}

async function attempt<T>(work: () => Promise<T>): Promise<T> {
  return work();
}

async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  work.catch(() => {}); // after an abort nobody waits for it
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

function encoded({ status, json }: BridgeAnswer): BridgeAnswer {
  const replies = json as UpstashReply<unknown> | UpstashReply<unknown>[];
  return { status, json: Array.isArray(replies) ? replies.map(encodeReply) : encodeReply(replies) };
}

function encodeReply(reply: UpstashReply<unknown>): UpstashReply<unknown> {
  return 'error' in reply ? reply : { result: toBase64(reply.result) };
}

function toBase64(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(toBase64);
  return typeof value === 'string' && value !== 'OK' ? Buffer.from(value, 'utf8').toString('base64') : value;
}
