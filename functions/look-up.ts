/** Finding what an id names: first in the SET it names, where it was offered first, then elsewhere. */
import { originOf, type SetwayId } from '../shared/identifier.ts';
import { withinMs } from '../shared/deadline.ts';
import { Problem } from '../shared/problem.ts';
import type { SetDefinition } from '../shared/sets/set.ts';
import type { SetLink } from '../shared/sets/set-link.ts';
import type { Services } from './services.ts';

/** How long one SET may take to look an id up. */
const lookUpMs = 2_000;

export type LookUpNeeds = Pick<Services, 'catalog' | 'link' | 'clock'>;

export interface Whereabouts {
  /** The SET that the id names: one, or none when it is retired. */
  readonly home: readonly SetDefinition[];
  /** All others by number, since a failover keeps the id. */
  readonly others: readonly SetDefinition[];
}

export async function whereaboutsOf(id: SetwayId, { catalog }: LookUpNeeds): Promise<Whereabouts> {
  const sets = [...(await catalog.current()).sets.values()].toSorted((a, b) => a.number - b.number);
  const { setNumber } = originOf(id);
  return {
    home: sets.filter((set) => set.number === setNumber),
    others: sets.filter((set) => set.number !== setNumber),
  };
}

export interface Found<T> {
  readonly found: readonly { readonly set: SetDefinition; readonly value: T }[];
  /** Why a SET did not answer, if one did not. */
  readonly failure?: unknown;
}

/** Asks SETs at once; a SET that does not answer in time has failed. Never rejects. */
export async function askSets<T>(
  { clock, link }: LookUpNeeds,
  sets: readonly SetDefinition[],
  ask: (link: SetLink) => Promise<T | undefined>,
): Promise<Found<T>> {
  const answers = await Promise.allSettled(
    sets.map(async (set) => ({ set, value: await withinMs(clock, lookUpMs, ask(link(set.id))) })),
  );
  const failed = answers.find((answer) => answer.status === 'rejected');
  return {
    found: answers.flatMap((answer) => {
      if (answer.status === 'rejected' || answer.value.value === undefined) return [];
      return [{ set: answer.value.set, value: answer.value.value }];
    }),
    ...(failed ? { failure: failed.reason as unknown } : {}),
  };
}

/**
 * Nobody has it.
 * @throws Problem `set-unavailable` when somebody did not answer: then nobody can say it is not there
 */
export function foundNowhere(named: string, ...asked: readonly Found<unknown>[]): undefined {
  const failed = asked.find(({ failure }) => failure !== undefined);
  if (!failed) return undefined;
  throw new Problem('set-unavailable', `A SET that may have this ${named} does not answer.`, {
    retryAfterSeconds: 2,
    cause: failed.failure,
  });
}
