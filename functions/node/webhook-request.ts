/**
 * `PostWebhook` on Node, through undici's dispatcher: connections are kept alive per origin, and every address is
 * checked at the moment of connecting.
 *
 * The check has no gap between looking and dialling: the socket asks this file's look-up for the addresses of the name,
 * the look-up refuses a name of which any address is forbidden, and the socket dials what it was handed, without
 * resolving again. A name that is an address itself skips the look-up, so the connector checks it.
 */
import { lookup as resolveName } from 'node:dns';
import type { LookupAddress } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import { Agent, buildConnector, type Dispatcher } from 'undici';
import type { Clock } from '../../shared/clock.ts';
import { isForbiddenAddress, type AddressPolicy } from '../../shared/webhook/address.ts';
import type { AnswerHeaders, WebhookAnswer } from '../../shared/webhook/outcome.ts';
import {
  excerptBytes,
  excerptOf,
  fixedHeaders,
  maxAnswerBytes,
  reasonOf,
  timedOut,
  type PostWebhook,
  type WebhookRequest,
} from '../../shared/webhook/request.ts';

/** All addresses of a name. */
export type ResolveName = (
  hostname: string,
  done: (error: Error | null, addresses: readonly LookupAddress[]) => void,
) => void;

export interface WebhookAgentDependencies {
  readonly clock: Pick<Clock, 'after'>;
  /** Default: the system's resolver. */
  readonly resolve?: ResolveName;
}

export interface WebhookAgentSettings {
  readonly policy: AddressPolicy;
  /** Connections per origin. More deliveries than this at once wait for one. */
  readonly connections?: number;
  /** Certificates to trust besides the usual ones, PEM. */
  readonly certificates?: string;
}

export interface WebhookAgent {
  readonly post: PostWebhook;
  /** Waits for the calls under way, then closes all connections. */
  close(): Promise<void>;
}

/** As many calls as one receiver gets at once from one process; subscriptions set lower limits of their own. */
const defaultConnections = 256;

/** @example const agent = createWebhookAgent({ clock: systemClock }, { policy: strictAddressPolicy }) */
export function createWebhookAgent(
  dependencies: WebhookAgentDependencies,
  settings: WebhookAgentSettings,
): WebhookAgent {
  const agent = new Agent({
    connect: createGuardedConnector(dependencies.resolve ?? resolveBySystem, settings),
    connections: settings.connections ?? defaultConnections,
    pipelining: 1,
    // The total time of each call is the only clock: these two would restart with every byte.
    headersTimeout: 0,
    bodyTimeout: 0,
  });
  return {
    post: (request) =>
      new Promise((resolve) => {
        const call = new Call(request, resolve);
        call.cancelTimer = dependencies.clock.after(request.timeoutMs, () => call.expire());
        call.begin(agent);
      }),
    close: () => agent.close(),
  };
}

/** One POST under way. A class, because undici calls methods of a handler: no closures per call in the hot path. */
class Call implements Dispatcher.DispatchHandler {
  cancelTimer: () => void = () => undefined;
  private readonly request: WebhookRequest;
  private readonly resolve: (answer: WebhookAnswer) => void;
  private controller: Dispatcher.DispatchController | undefined;
  private isSettled = false;
  private status = 0;
  private headers: AnswerHeaders = {};
  private readonly parts: Buffer[] = [];
  private bytes = 0;

  constructor(request: WebhookRequest, resolve: (answer: WebhookAnswer) => void) {
    this.request = request;
    this.resolve = resolve;
  }

  begin(agent: Agent): void {
    const { url, headers, body, method = 'POST' } = this.request;
    try {
      const { origin, pathname, search } = new URL(url);
      agent.dispatch(
        { origin, path: pathname + search, method, headers: { ...headers, ...fixedHeaders }, body },
        this,
      );
    } catch (error) {
      this.settle({ error: reasonOf(error) });
    }
  }

  expire(): void {
    this.settle(timedOut(this.request.timeoutMs));
    this.controller?.abort(new Error('out of time'));
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.controller = controller;
    // It waited for a connection until its time was over: do not send it now.
    if (this.isSettled) controller.abort(new Error('out of time'));
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: AnswerHeaders): void {
    if (status < 200) return; // informational: the answer is yet to come
    this.status = status;
    this.headers = headers;
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.bytes <= (this.request.keptBytes ?? excerptBytes)) this.parts.push(chunk);
    this.bytes += chunk.byteLength;
    if (this.bytes <= maxAnswerBytes) return;
    this.settle(this.answer());
    controller.abort(new Error('the answer is too long'));
  }

  onResponseEnd(): void {
    this.settle(this.answer());
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.settle({ error: reasonOf(error) });
  }

  private answer(): WebhookAnswer {
    const { status, headers } = this;
    return { status, headers, excerpt: excerptOf(this.request, status, Buffer.concat(this.parts)) };
  }

  private settle(answer: WebhookAnswer): void {
    if (this.isSettled) return;
    this.isSettled = true;
    this.cancelTimer();
    this.resolve(answer);
  }
}

function createGuardedConnector(
  resolve: ResolveName,
  settings: WebhookAgentSettings,
): buildConnector.connector {
  const connect = buildConnector({
    lookup: createGuardedLookup(resolve, settings.policy),
    allowH2: false,
    timeout: 10_000,
    ...(settings.certificates === undefined ? {} : { ca: settings.certificates }),
  });
  return (options, callback) => {
    const host = options.hostname.replace(/^\[(.*)\]$/, '$1');
    if (isIP(host) !== 0 && isForbiddenAddress(host, settings.policy)) callback(refusal(host, host), null);
    else connect(options, callback);
  };
}

/** A look-up that hands out the addresses of a name only if all of them are allowed. */
function createGuardedLookup(resolve: ResolveName, policy: AddressPolicy): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname, (error, addresses) => {
      const [first] = addresses;
      const forbidden = addresses.find(({ address }) => isForbiddenAddress(address, policy));
      if (error) callback(error, '', 0);
      else if (forbidden) callback(refusal(hostname, forbidden.address), '', 0);
      else if (!first) callback(new Error(`${hostname} has no address`), '', 0);
      else if (options.all) callback(null, [...addresses]);
      else callback(null, first.address, first.family);
    });
  };
}

function refusal(hostname: string, address: string): Error {
  return new Error(`Not connected: ${hostname} leads to ${address}, which is not allowed`);
}

/** The system's resolver, which also knows the hosts file. On failure it hands over no list. */
const resolveBySystem: ResolveName = (hostname, done) => {
  resolveName(hostname, { all: true }, (error, addresses) => done(error, error ? [] : addresses));
};
