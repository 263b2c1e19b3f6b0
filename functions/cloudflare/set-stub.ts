/** The link to a SET over Durable Object RPC. */
import type { HostAtWork } from '../../scheduled/run-job.ts';
import { fromProblemData, Problem } from '../../shared/problem.ts';
import { linkThrough, type SetLink } from '../../shared/sets/set-link.ts';
import type { World } from '../assemble.ts';
import { locationHintOf } from './location-hint.ts';
import type { Reply, SetObject } from './set-object.ts';
import type { Env } from './world.ts';

export function linkTo(env: Env, world: World, set: string): SetLink & HostAtWork {
  const hosts = env.SET_HOST as DurableObjectNamespace<SetObject>;
  const stub = async () => {
    const definition = (await world.catalog.current()).sets.get(set);
    if (!definition) throw new Problem('not-found', `There is no SET "${set}".`);
    return hosts.getByName(set, { locationHint: locationHintOf(definition.place) });
  };
  return {
    ...linkThrough(async (call, args) => answerOf((await stub()).call(call, args))),
    handleDue: async (kind, budget) => answerOf((await stub()).handleDue(kind, budget)),
    shift: async () => answerOf((await stub()).shift()),
    backlog: async () => answerOf((await stub()).backlog()),
  };
}

/**
 * The value of a reply, or its Problem.
 * @param call typed loosely, because the RPC types spread a union of replies into a union of promises
 * @throws Problem; `set-unavailable` when the object is overloaded, restarting or gone: the call may have had its effect
 */
async function answerOf<T>(call: PromiseLike<unknown>): Promise<T> {
  const reply = await reached(call);
  if ('problem' in reply) throw fromProblemData(reply.problem);
  return reply.value as T;
}

async function reached(call: PromiseLike<unknown>): Promise<Reply<unknown>> {
  try {
    return (await call) as Reply<unknown>;
  } catch (error) {
    throw new Problem('set-unavailable', 'The host of the SET does not answer.', { cause: error });
  }
}
