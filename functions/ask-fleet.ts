/** One question to every SET at once. Who does not answer is named: nothing is ever missing silently. */
import { withinMs } from '../shared/deadline.ts';
import type { SetLink } from '../shared/sets/set-link.ts';
import type { Services } from './services.ts';

/** Longer than a database may take for one statement. */
const askMs = 4_000;

export interface FleetAnswer<T> {
  readonly answers: readonly T[];
  /** SETs that did not answer. */
  readonly incomplete: readonly string[];
}

/** @example const { answers, incomplete } = await askFleet(services, (link) => link.search(search)) */
export async function askFleet<T>(
  services: Pick<Services, 'catalog' | 'link' | 'clock'>,
  ask: (link: SetLink) => Promise<T>,
): Promise<FleetAnswer<T>> {
  const sets = [...(await services.catalog.current()).sets.keys()];
  const settled = await Promise.allSettled(
    sets.map(async (set) => withinMs(services.clock, askMs, ask(services.link(set)))),
  );
  return {
    answers: settled.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : [])),
    incomplete: settled.flatMap((answer, index) => (answer.status === 'rejected' ? [sets[index] ?? ''] : [])),
  };
}
