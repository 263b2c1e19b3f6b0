import { applySet } from '../shared/fleet/apply-set.ts';
import { describeChange } from '../shared/fleet/drift.ts';
import { findSet, type FleetParts } from '../shared/fleet/fleet.ts';
import { planSet } from '../shared/fleet/plan-set.ts';
import { asProblem, Problem } from '../shared/problem.ts';
import type { Job, JobParts } from './run-job.ts';

/** A change of the catalog reaches hosts and copies in a few seconds: only what is still so afterwards is drift. */
const settleMs = 5_000;
/** Changes named in a run's record; the metric and `setway sets plan` have them all. */
const namedChanges = 5;

/**
 * Compares every SET that has a management URL with what it should be, reports what differs, and brings it back where the
 * SET says so (`drift: repair`).
 */
export const reconcileTopology: Job = reconcileAfter(settleMs);

/** @param waitMs between two looks that must agree */
export function reconcileAfter(waitMs: number): Job {
  return {
    name: 'reconcile-topology',
    async run(parts) {
      const { access } = await parts.catalog.current();
      const ids = [...access].flatMap(([id, { managementUrl }]) => (managementUrl === undefined ? [] : [id]));
      const results = await Promise.all(ids.map((id) => reconcile(parts, id, waitMs)));
      return {
        handled: results.reduce((sum, { repaired }) => sum + repaired, 0),
        failures: results.flatMap(({ set, detail }) => (detail === undefined ? [] : [{ set, detail }])),
      };
    },
  };
}

interface Reconciled {
  readonly set: string;
  readonly repaired: number;
  readonly detail?: string;
}

async function reconcile(parts: JobParts, set: string, waitMs: number): Promise<Reconciled> {
  const { fleet, telemetry, clock } = parts;
  const told = (count: number): void => telemetry.set('setway_topology_drift', { set }, count);
  try {
    if ((await driftOf(fleet, set)).length === 0) {
      told(0);
      return { set, repaired: 0 };
    }
    await new Promise<void>((resolve) => void clock.after(waitMs, resolve));
    const changes = await driftOf(fleet, set);
    told(changes.length);
    if (changes.length === 0) return { set, repaired: 0 };
    if ((await findSet(fleet, set)).kept.drift !== 'repair')
      return { set, repaired: 0, detail: tell(changes) };
    const applied = await applySet(fleet, set);
    told(0);
    return { set, repaired: applied.changes.length };
  } catch (error) {
    // Retired since the catalog was read.
    if (error instanceof Problem && error.kind === 'not-found') return { set, repaired: 0 };
    return { set, repaired: 0, detail: asProblem(error).message };
  }
}

async function driftOf(fleet: FleetParts, set: string): Promise<readonly string[]> {
  const { changes } = await planSet(fleet, await findSet(fleet, set));
  return changes.map(describeChange);
}

function tell(changes: readonly string[]): string {
  const more = changes.length > namedChanges ? ` and ${changes.length - namedChanges} more` : '';
  return `Not as it should be: ${changes.slice(0, namedChanges).join('; ')}${more}. See setway sets plan.`;
}
