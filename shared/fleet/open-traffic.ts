/**
 * Lets traffic into a SET: at once, or one hundredth of it for a while first. A SET that is not well at the end of the
 * while goes back to weight 0.
 *
 * The hundredth is a share of what would come to the SET at its full weight, wherever it stands: of a hundred messages
 * that nothing binds to it, 99 pass it over (shared/sets/load.ts). What names it, is pinned to it, or has a key in one of
 * its buckets comes in full: a new SET has no pins and no buckets yet. What if the command dies during the while: the
 * share stays, `setway sets status` shows it, and `setway sets weight` takes it away.
 */
import { asProblem, Problem } from '../problem.ts';
import { expectWell } from './apply-set.ts';
import { changeSet } from './change-set.ts';
import type { FleetParts } from './fleet.ts';

export interface Opening {
  readonly id: string;
  readonly weight: number;
  /** 0: at once. */
  readonly rampMs: number;
}

const firstShare = 0.01;

/** @throws Problem of a SET that was not well after the first step; it takes nothing then */
export async function openTraffic(parts: FleetParts, { id, weight, rampMs }: Opening): Promise<void> {
  if (weight === 0) return;
  if (rampMs > 0) {
    await changeSet(parts, id, { weight, share: firstShare });
    parts.report(`${id}: weight ${weight}, ${firstShare * 100} % of it for ${rampMs / 1000} s`);
    await new Promise<void>((resolve) => void parts.clock.after(rampMs, resolve));
    try {
      await expectWell(parts, id);
    } catch (error) {
      await changeSet(parts, id, { weight: 0, share: undefined });
      const { kind, message } = asProblem(error);
      throw new Problem(kind, `${message} It takes no traffic: weight 0.`, { cause: error });
    }
  }
  await changeSet(parts, id, { weight, share: undefined });
  parts.report(`${id}: weight ${weight}`);
}
