import { parseArgs } from 'node:util';
import { describeChange } from '../../shared/fleet/drift.ts';
import { findSet, type FleetParts } from '../../shared/fleet/fleet.ts';
import { applyAll } from '../../shared/fleet/apply-set.ts';
import { managedSets } from '../../shared/fleet/managed-sets.ts';
import { planSet } from '../../shared/fleet/plan-set.ts';
import { withFleet } from './open-fleet.ts';
import type { SetAction } from './set-action.ts';

/** What would change, as a diff; changes nothing. */
export const planAction: SetAction = {
  usage: 'plan [ID…]',
  help: ['What would change: + added, ~ changed, - removed, ! only you can. Changes nothing.'],
  run: (args, print) =>
    withFleet(print, async (fleet) => {
      const { positionals } = parseArgs({ args: [...args], allowPositionals: true });
      for (const id of await managedSets(fleet, positionals)) print(await planned(fleet, id));
    }),
};

async function planned(fleet: FleetParts, id: string): Promise<string> {
  const { changes } = await planSet(fleet, await findSet(fleet, id));
  if (changes.length === 0) return `${id}: as it should be`;
  return [`${id}: ${changes.length} changes`, ...changes.map((change) => `  ${describeChange(change)}`)].join(
    '\n',
  );
}

/** Makes it so, one SET after the other. */
export const applyAction: SetAction = {
  usage: 'apply [ID…] [--first ID]',
  help: [
    'Makes it so, as often as you like. Without ids all SETs, --first or the one of the lowest',
    'number as the canary: each must be well before the next is touched, the first that fails stops.',
  ],
  run: (args, print) =>
    withFleet(print, async (fleet) => {
      const options = { first: { type: 'string' } } as const;
      const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true });
      await applyAll(fleet, await managedSets(fleet, positionals, values.first));
    }),
};
