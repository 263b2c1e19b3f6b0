/**
 * A decision at the edge, which must find the transaction first, and all of its copies.
 *
 * A SET that did not answer a prepare in time may have stored it all the same, and then the next one has it too, under
 * the same ids. Two copies must not be decided differently. So one SET speaks for all: the one the id names if it has
 * it, else the first by number that has it; who decides there first has decided, and every other copy is told the same.
 * A copy whose SET is away then learns it from its own check-back, or from a repeated decision; until then it is only
 * not sent. One gap is left, and it needs a producer that contradicts itself: while the SET that speaks is away another
 * copy may be decided, and later its own producer may say the opposite to the SET that is back.
 */
import type { TransactionId } from '../shared/identifier.ts';
import type { Decision, DecisionRequest, TransactionRecord } from '../shared/sets/set-link.ts';
import { askSets, foundNowhere, whereaboutsOf, type Found, type LookUpNeeds } from './look-up.ts';
import type { Services } from './services.ts';

type Needs = LookUpNeeds & Pick<Services, 'isUsable'>;

/**
 * @returns the transaction as it is decided now, by whomever; undefined when there is none of this owner
 * @throws Problem `set-unavailable` when nobody has it but somebody did not answer
 */
export async function decideTransaction(
  request: DecisionRequest,
  services: Needs,
): Promise<TransactionRecord | undefined> {
  const { home, others } = await whereaboutsOf(request.id, services);
  const atHome = await askSets(services, home, (link) => link.decide(request));
  const elsewhere = atHome.found[0] ? undefined : await decideElsewhere(request, services, others);
  const spoken = atHome.found[0] ?? elsewhere?.found[0];
  if (!spoken) return foundNowhere('transaction', atHome, ...(elsewhere ? [elsewhere] : []));
  // Decided is terminal, so what came back is one of the two.
  const same = { ...request, decision: spoken.value.state as Decision };
  const copies = others.filter(({ id }) => id !== spoken.set.id && services.isUsable(id));
  await askSets(services, copies, (link) => link.decide(same));
  return spoken.value;
}

/** Looked for everywhere at once, decided by the first that has it. */
async function decideElsewhere(
  request: DecisionRequest,
  services: Needs,
  others: Parameters<typeof askSets>[1],
): Promise<Found<TransactionRecord>> {
  const holders = await askSets(services, others, (link) => link.findTransaction(request.id));
  const [first] = holders.found;
  if (first?.value.owner !== request.owner)
    return holders.failure ? { ...holders, found: [] } : { found: [] };
  return askSets(services, [first.set], (link) => link.decide(request));
}

/** @throws Problem `set-unavailable` when nobody has it but somebody did not answer */
export async function findTransaction(
  id: TransactionId,
  services: LookUpNeeds,
): Promise<TransactionRecord | undefined> {
  const { home, others } = await whereaboutsOf(id, services);
  const atHome = await askSets(services, home, (link) => link.findTransaction(id));
  if (atHome.found[0]) return atHome.found[0].value;
  const elsewhere = await askSets(services, others, (link) => link.findTransaction(id));
  return elsewhere.found[0]?.value ?? foundNowhere('transaction', atHome, elsewhere);
}
