import type { MessageId } from '../shared/identifier.ts';
import type { MessageRecord } from '../shared/sets/set-link.ts';
import { askSets, foundNowhere, whereaboutsOf, type LookUpNeeds } from './look-up.ts';

/**
 * Looks a message up: first in the SET its id names, then in all others at once.
 * @throws Problem `set-unavailable` when nobody has it but somebody did not answer
 */
export async function findMessage(id: MessageId, services: LookUpNeeds): Promise<MessageRecord | undefined> {
  const { home, others } = await whereaboutsOf(id, services);
  const atHome = await askSets(services, home, (link) => link.find(id));
  if (atHome.found[0]) return atHome.found[0].value;
  const elsewhere = await askSets(services, others, (link) => link.find(id));
  return elsewhere.found[0]?.value ?? foundNowhere('message', atHome, elsewhere);
}
