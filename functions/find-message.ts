import { originOf } from '../shared/identifier.ts';
import type { MessageId } from '../shared/identifier.ts';
import { Problem } from '../shared/problem.ts';
import type { MessageRecord } from '../shared/sets/set-link.ts';
import { withinMs } from '../shared/deadline.ts';
import type { Services } from './services.ts';

/** How long one SET may take to look an id up. */
const lookUpMs = 2_000;

type Needs = Pick<Services, 'catalog' | 'link' | 'clock'>;

/**
 * Looks a message up: first in the SET its id names, where it was offered first, then in all others at once, since a
 * failover keeps the id.
 * @throws Problem `set-unavailable` when nobody has it but somebody did not answer: then nobody can say it is not there
 */
export async function findMessage(id: MessageId, services: Needs): Promise<MessageRecord | undefined> {
  const sets = [...(await services.catalog.current()).sets.values()];
  const { setNumber } = originOf(id);
  const first = sets.filter((set) => set.number === setNumber);
  const others = sets.filter((set) => set.number !== setNumber);
  let failure: unknown;
  for (const asked of [first, others]) {
    const answers = await Promise.allSettled(
      asked.map(async (set) => withinMs(services.clock, lookUpMs, services.link(set.id).find(id))),
    );
    for (const answer of answers) {
      if (answer.status === 'rejected') failure = answer.reason;
      else if (answer.value !== undefined) return answer.value;
    }
  }
  if (failure === undefined) return undefined;
  throw new Problem('set-unavailable', 'A SET that may have this message does not answer.', {
    retryAfterSeconds: 2,
    cause: failure,
  });
}
