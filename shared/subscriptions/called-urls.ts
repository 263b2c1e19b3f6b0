/** Every URL a subscription has called, with its place as a JSON pointer: each has to pass the same rules. */
import type { Subscription } from './subscription.ts';

export function calledUrls({
  callback,
  endpoint,
  members = [],
}: Pick<Subscription, 'callback' | 'endpoint' | 'members'>): readonly {
  readonly at: string;
  readonly url: string;
}[] {
  const places = [
    { at: '/endpoint/url', url: endpoint && 'url' in endpoint ? endpoint.url : undefined },
    ...members.map((member, index) => ({
      at: `/members/${index}/url`,
      url: 'url' in member ? member.url : undefined,
    })),
    { at: '/callback/success', url: callback?.success },
    { at: '/callback/failure', url: callback?.failure },
  ];
  return places.flatMap(({ at, url }) => (url === undefined ? [] : [{ at, url }]));
}
