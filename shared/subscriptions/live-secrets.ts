/** Which secrets sign now: the newest, and older ones until their time is over. */
import type { Subscription } from './subscription.ts';

/** @example liveSecrets({ secrets: ['whsec_new', 'whsec_old'], retiring: [1_000] }, 2_000) // ['whsec_new'] */
export function liveSecrets(
  { secrets, retiring = [] }: Pick<Subscription, 'secrets' | 'retiring'>,
  nowMs: number,
): readonly string[] {
  return secrets.filter((_, index) => index === 0 || nowMs < (retiring[index - 1] ?? Infinity));
}
