import { parseArgs } from 'node:util';
import { changeSet, moveSet } from '../../shared/fleet/change-set.ts';
import { findSet, managementOf, type FleetParts } from '../../shared/fleet/fleet.ts';
import { lookLeft } from '../../shared/fleet/look-left.ts';
import { openTraffic } from '../../shared/fleet/open-traffic.ts';
import { retireSet } from '../../shared/fleet/retire-set.ts';
import { Problem } from '../../shared/problem.ts';
import { onlyId, withFleet } from './open-fleet.ts';
import { numberOf } from './number-option.ts';
import type { SetAction } from './set-action.ts';

/** How often a drain that is waited for is looked at. */
const lookEveryMs = 1_000;

export const drainAction: SetAction = {
  usage: 'drain ID [--wait SECONDS]',
  help: ['No new messages; what it has goes on being delivered. Prints what is left.'],
  run: (args, print) =>
    withFleet(print, async (fleet) => {
      const options = { wait: { type: 'string', default: '0' } } as const;
      const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true });
      const id = onlyId(positionals, 'drain ID');
      await moveSet(fleet, id, 'draining');
      print(`${id}: draining`);
      print(await leftAfter(fleet, id, numberOf('wait', values.wait) * 1_000));
    }),
};

async function leftAfter(fleet: FleetParts, id: string, waitMs: number): Promise<string> {
  const found = await findSet(fleet, id);
  const endMs = fleet.clock.nowMs() + waitMs;
  for (;;) {
    const { lines } = await lookLeft(fleet, managementOf(fleet, found.entry), found);
    if (lines.length === 0) return `${id}: nothing left`;
    if (fleet.clock.nowMs() >= endMs) return [`${id}: left`, ...lines.map((line) => `  ${line}`)].join('\n');
    await new Promise<void>((resolve) => void fleet.clock.after(lookEveryMs, resolve));
  }
}

export const fenceAction: SetAction = {
  usage: 'fence ID',
  help: ['No new messages, and its hosts do nothing more: nothing they had in hand gets into the books.'],
  run: (args, print) =>
    withFleet(print, async (fleet) => {
      const { positionals } = parseArgs({ args: [...args], allowPositionals: true });
      const id = onlyId(positionals, 'fence ID');
      await moveSet(fleet, id, 'fenced');
      print(`${id}: fenced`);
    }),
};

export const weightAction: SetAction = {
  usage: 'weight ID W [--ramp SECONDS]',
  help: ['Its share of traffic among SETs that are equally good; 0: only messages that name it.'],
  run: (args, print) =>
    withFleet(print, async (fleet) => {
      const options = { ramp: { type: 'string', default: '0' } } as const;
      const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true });
      const [id = '', text = ''] = positionals;
      const weight = numberOf('weight', text);
      if (weight > 1_000) throw new Problem('invalid-request', 'A weight is at most 1000.');
      if (weight > 0)
        return openTraffic(fleet, { id, weight, rampMs: numberOf('ramp', values.ramp) * 1_000 });
      await changeSet(fleet, id, { weight: 0, share: undefined });
      print(`${id}: weight 0`);
    }),
};

export const driftAction: SetAction = {
  usage: 'drift ID report|repair',
  help: ['What the cron reconcile-topology does when RabbitMQ is not what it should be.'],
  run: (args, print) =>
    withFleet(print, async (fleet) => {
      const [id = '', drift] = args;
      if (drift !== 'report' && drift !== 'repair')
        throw new Problem('invalid-request', 'Say which: setway sets drift ID report|repair');
      await changeSet(fleet, id, { drift });
      print(`${id}: drift is ${drift === 'repair' ? 'repaired' : 'reported'}`);
    }),
};

export const retireAction: SetAction = {
  usage: 'retire ID [--shovel-to ID]',
  help: [
    'Takes a drained SET away: vhost and user, its entry in the catalog. Refuses while anything',
    'would be lost, and says what. --shovel-to hands what waits in its queues to a sibling first.',
    'Its databases stay; its number is never used again.',
  ],
  run: (args, print) =>
    withFleet(print, async (fleet) => {
      const options = { 'shovel-to': { type: 'string' } } as const;
      const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true });
      const id = onlyId(positionals, 'retire ID');
      await retireSet(fleet, { id, shovelTo: values['shovel-to'] });
      print(`${id}: retired`);
    }),
};
