/** URLs that a client wants called: refused at the door if they must not be. */
import { asProblem, Problem } from '../shared/problem.ts';
import { checkWebhookUrl, type WebhookUrlPolicy } from '../shared/webhook/address.ts';

/** @throws Problem `destination-refused` with the place of the first that must not be called */
export function refuseBadUrls(
  places: readonly { readonly at: string; readonly url: string }[],
  policy: WebhookUrlPolicy,
): void {
  for (const { at, url } of places) {
    try {
      checkWebhookUrl(url, policy);
    } catch (error) {
      const { message } = asProblem(error);
      const faults = [{ at, detail: message }];
      throw new Problem('destination-refused', `${at}: ${message}`, { faults, cause: error });
    }
  }
}
