/**
 * Lets traffic into a SET by its weight: at once, or one hundredth of it for a while first. A SET that is not well at the
 * end of the while goes back to weight 0.
 *
 * Weights share what several SETs are equally good for: SETs within 10 km of each other, and messages without a place
 * (shared/sets/route.ts). A SET that is alone where it stands gets all its neighbours' traffic from the first step on.
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
    await changeSet(parts, id, { weight: weight * firstShare });
    parts.report(`${id}: weight ${weight * firstShare} for ${rampMs / 1000} s`);
    await new Promise<void>((resolve) => void parts.clock.after(rampMs, resolve));
    try {
      await expectWell(parts, id);
    } catch (error) {
      await changeSet(parts, id, { weight: 0 });
      const { kind, message } = asProblem(error);
      throw new Problem(kind, `${message} It takes no traffic: weight 0.`, { cause: error });
    }
  }
  await changeSet(parts, id, { weight });
  parts.report(`${id}: weight ${weight}`);
}
