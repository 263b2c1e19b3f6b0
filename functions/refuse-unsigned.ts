/** Calls to a client's URL are signed with the secrets of a topic: without them the URL is refused at the door. */
import { Problem } from '../shared/problem.ts';
import type { Services } from './services.ts';

export interface SignedCall {
  /** The field that holds the URL: `checkUrl`. */
  readonly field: string;
  readonly topic: string;
  readonly owner: string;
}

/** @throws Problem `invalid-request`: what nobody could prove to be ours must not be sent */
export async function refuseUnsigned(
  { catalog }: Pick<Services, 'catalog'>,
  { field, topic: name, owner }: SignedCall,
): Promise<void> {
  const topic = (await catalog.current()).topics.get(name);
  // One that is not there, or not the caller's, is a 404 of the publisher.
  if (topic?.owner !== owner || (topic.secrets ?? []).length > 0) return;
  const detail = `The topic "${name}" has no secrets to sign this call with. Declare "secrets": ["whsec_…"] on it in the catalog, or leave ${field} out.`;
  throw new Problem('invalid-request', `/${field}: ${detail}`, { faults: [{ at: `/${field}`, detail }] });
}
