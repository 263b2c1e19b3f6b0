import type { SetDefinition } from '../shared/sets/set.ts';
import { federationFaults, type Federated } from '../shared/subscriptions/replication.ts';
import { refused } from './catalog-resource.ts';

interface Asked {
  readonly federated: Federated | undefined;
  readonly scope: 'anywhere' | 'center';
  /** The field that says it. */
  readonly at: string;
}

/** @throws Problem `invalid-request` for SETs that are not there, or where a center topic must not go */
export function refuseFederation(
  { federated, scope, at }: Asked,
  sets: readonly Pick<SetDefinition, 'id' | 'kind'>[],
): void {
  const [fault] = federationFaults(federated, scope, sets);
  if (fault) throw refused(at + fault.at, fault.detail);
}
