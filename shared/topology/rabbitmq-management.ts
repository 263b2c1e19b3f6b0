/** The management contract over RabbitMQ's HTTP API, 3.10 to 4.x. */
import type { Management } from './management.ts';
import { healthCalls } from './management-health.ts';
import { linkCalls } from './management-links.ts';
import { objectCalls } from './management-objects.ts';
import { policyCalls } from './management-policies.ts';
import {
  createManagementCall,
  parseManagementUrl,
  type ManagementDependencies,
} from './management-request.ts';
import { userCalls } from './management-users.ts';
import { vhostCalls } from './management-vhosts.ts';

/**
 * Opens nothing: each call is one request.
 * @param url `https://user:password@host:15671`, its user tagged "administrator"
 * @throws Problem `invalid-settings`, without the credentials of the URL
 * @example await openManagement({ fetch }, 'http://admin:secret@127.0.0.1:15672').overview()
 */
export function openManagement(dependencies: ManagementDependencies, url: string): Management {
  const call = createManagementCall(dependencies, parseManagementUrl(url));
  return {
    ...healthCalls(call),
    ...objectCalls(call),
    ...linkCalls(call),
    vhosts: vhostCalls(call),
    users: userCalls(call),
    policies: policyCalls(call, 'policies'),
    operatorPolicies: policyCalls(call, 'operator-policies'),
  };
}
