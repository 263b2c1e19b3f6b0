/** Who is told when a delivery has ended: see shared/delivery/tell-end.ts. */
import { z } from 'zod';

export interface Callback {
  /** Called when a delivery is DONE. */
  readonly success?: string | undefined;
  /** Called when one is DEAD or SKIPPED. */
  readonly failure?: string | undefined;
}

const url = z.url().max(2_048);

export const callbackSchema = z
  .strictObject({
    success: url.optional().meta({ description: 'Told when a delivery is done.' }),
    failure: url.optional().meta({ description: 'Told when a delivery has failed for good.' }),
  })
  .meta({ id: 'Callback', description: 'URLs that are told how deliveries end; signed like a delivery.' });

/** Reads what travelled through the broker; what is none of ours is as if it were not there. */
export function callbackOf(given: unknown): Callback | undefined {
  if (typeof given !== 'string') return undefined;
  try {
    return JSON.parse(given) as Callback;
  } catch {
    return undefined;
  }
}
