/**
 * The HTTP application: every door behind the same frame. The frame checks the transport, times the request, turns
 * errors into problems, and puts request id and security headers on the answer. It is one function around one handler,
 * not a chain of middlewares: publishing is the hot path.
 */
import { Hono } from 'hono';
import type { Context } from 'hono';
import { Problem } from '../shared/problem.ts';
import { toResponse } from './answer.ts';
import type { Answer } from './answer.ts';
import { batchDoors } from './batches.ts';
import { bulkDoors } from './bulk.ts';
import { deadLetterDoors } from './dead-letters.ts';
import { deliveryDoors } from './deliveries.ts';
import type { Door, Visit } from './door.ts';
import { healthDoors } from './health.ts';
import { jobDoors } from './jobs.ts';
import { keyDoors } from './keys.ts';
import { messageDoors } from './messages.ts';
import { answerProblem, logEntryOf } from './problem-response.ts';
import type { Log } from './problem-response.ts';
import { pullDoors } from './pull.ts';
import { redriveDoors } from './redrives.ts';
import { referenceDoors } from './reference.ts';
import { replayDoors } from './replay.ts';
import { pinDoors } from './pins.ts';
import { routeDoors } from './routes.ts';
import { scheduleDoors } from './schedules.ts';
import { searchDoors } from './search-messages.ts';
import { scheduledMessageDoors } from './scheduled-messages.ts';
import type { Services } from './services.ts';
import { sequenceDoors } from './sequences.ts';
import { setControlDoors } from './set-control.ts';
import { setDoors } from './sets.ts';
import { subscriptionSecretDoors } from './subscription-secrets.ts';
import { subscriptionDoors } from './subscriptions.ts';
import { topicDoors } from './topics.ts';
import { traceIdOf, validTraceparent } from './trace-context.ts';
import { transactionDoors } from './transactions.ts';
import { checkTransport } from './transport-rules.ts';
import type { NodeBindings } from './transport-rules.ts';

/** What Hono hands to a handler here: on Node its bindings hold the server's request. */
type Frame = { Bindings: NodeBindings };

/**
 * @param log takes one entry per request that failed on our side
 * @example serve({ fetch: createApp(services, (entry) => console.error(JSON.stringify(entry))).fetch, port })
 */
export function createApp(services: Services, log: Log): Hono<Frame> {
  const working = [
    ...messageDoors(services),
    ...bulkDoors(services),
    ...sequenceDoors(services),
    ...batchDoors(services),
    ...searchDoors(services),
    ...scheduledMessageDoors(services),
    ...deliveryDoors(services),
    ...pullDoors(services),
    ...deadLetterDoors(services),
    ...redriveDoors(services),
    ...replayDoors(services),
    ...transactionDoors(services),
    ...scheduleDoors(services),
    ...topicDoors(services),
    ...subscriptionDoors(services),
    ...subscriptionSecretDoors(services),
    ...keyDoors(services),
    ...jobDoors(services),
    ...setDoors(services),
    ...setControlDoors(services),
    ...routeDoors(services),
    ...pinDoors(services),
    ...healthDoors(services),
  ];
  const doors = [...working, ...referenceDoors(working)];
  const app = new Hono<Frame>();
  for (const door of doors) {
    const { method, path } = door.description;
    const open = framed(services, log, path, door.open);
    app.on(method.toUpperCase(), path.replaceAll(/\{(\w+)\}/g, ':$1'), open);
  }
  const nothing = noDoor(doors);
  app.notFound(framed(services, log, 'none', nothing));
  return app;
}

function framed(services: Services, log: Log, route: string, open: Door['open']) {
  const { telemetry } = services;
  return async (context: Context<Frame>): Promise<Response> => {
    const startedMs = performance.now();
    const request = context.req.raw;
    const traceparent = validTraceparent(request.headers.get('traceparent'));
    const traceId = traceIdOf(traceparent);
    const answer = await attempt(async () => {
      checkTransport(request, context.env);
      return open(visitOf(context, traceparent));
    });
    const shown = 'failure' in answer ? answerProblem(answer.failure, traceId) : answer;
    if ('failure' in answer) {
      const entry = logEntryOf(answer.failure, { traceId, method: request.method, route });
      if (entry) log(entry);
    }
    telemetry.count('setway_http_requests_total', { route, status: shown.status });
    telemetry.observe('setway_http_request_seconds', { route }, (performance.now() - startedMs) / 1000);
    return toResponse(shown, traceId);
  };
}

async function attempt(work: () => Promise<Answer>): Promise<Answer | { readonly failure: unknown }> {
  try {
    return await work();
  } catch (failure) {
    return { failure };
  }
}

function visitOf(context: Context<Frame>, traceparent: string | undefined): Visit {
  const { req } = context;
  return {
    request: req.raw,
    url: () => new URL(req.url),
    parameter: (name) => req.param(name) ?? '',
    traceparent,
  };
}

/** 405 with what is offered, where a door has this path; else 404. */
function noDoor(doors: readonly Door[]): Door['open'] {
  const patterns = doors.map(({ description: { method, path } }) => ({
    method: method.toUpperCase(),
    pattern: new RegExp(`^${path.replaceAll('.', String.raw`\.`).replaceAll(/\{\w+\}/g, '[^/]+')}$`),
  }));
  return async ({ url, request }) => {
    const { pathname } = url();
    const methods = patterns.filter(({ pattern }) => pattern.test(pathname)).map(({ method }) => method);
    if (methods.length === 0)
      throw new Problem('not-found', 'There is nothing at this path. See /openapi.json.');
    const allow = [
      ...new Set(methods.flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method]))),
    ].join(', ');
    throw new Problem('method-not-allowed', `${request.method} is not offered here, but ${allow} is.`, {
      headers: { allow },
    });
  };
}
