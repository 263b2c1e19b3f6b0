/** What goes from SET to SET by itself: links, shovels, and copies that are taken over. */
import { parseArgs } from 'node:util';
import { applyFederation, identityOf, type SetIdentity } from '../../shared/fleet/apply-federation.ts';
import { loginOf } from '../../shared/fleet/broker-url.ts';
import {
  declareShovel,
  readShovels,
  removeShovel,
  type ShovelEnd,
} from '../../shared/fleet/declared-shovels.ts';
import { readFederationView } from '../../shared/fleet/federation-links.ts';
import { findSet, managementOf, type FleetParts, type FoundSet } from '../../shared/fleet/fleet.ts';
import { managedSets } from '../../shared/fleet/managed-sets.ts';
import { promoteHeld } from '../../shared/fleet/promote-held.ts';
import { parseDurationMs } from '../../shared/duration.ts';
import { asProblem, Problem } from '../../shared/problem.ts';
import { openDatabase } from '../../shared/store/database.ts';
import { openStore } from '../../shared/store/postgres-store.ts';
import { onlyId, withFleet } from './open-fleet.ts';
import type { SetAction } from './set-action.ts';

export const federateAction: SetAction = {
  usage: 'federate [ID…]',
  help: [
    'Sets up and takes down federation now, as the catalog says; the cron `replicate` does it each minute.',
  ],
  run: (args, print) =>
    withFleet(print, async (fleet) => {
      for (const id of await managedSets(fleet, args)) {
        const { entry, catalog } = await findSet(fleet, id);
        const steps = await applyFederation(managementOf(fleet, entry), { catalog, set: id });
        print(steps.length === 0 ? `${id}: as it should be` : `${id}: ${steps.length} steps`);
        for (const { what } of steps) print(`  ${what}`);
      }
    }),
};

export const linksAction: SetAction = {
  usage: 'links [ID…]',
  help: ['Federation links, messages that wait for other SETs, shovels, and copies held of other SETs.'],
  run: (args, print) =>
    withFleet(print, async (fleet) => {
      const ids = await managedSets(fleet, []);
      const identities = new Map(
        (await Promise.all(ids.map(async (id) => known(fleet, id)))).flatMap((each) => each),
      );
      const shown = args.length > 0 ? await managedSets(fleet, args) : ids;
      for (const id of shown) print([id, ...(await linesOf(fleet, id, identities))].join('\n  '));
    }),
};

/** Of a SET that does not answer nobody knows what waits for it. */
async function known(fleet: FleetParts, id: string): Promise<readonly (readonly [string, SetIdentity])[]> {
  const { entry } = await findSet(fleet, id);
  const vhost = loginOf(entry.brokerUrls[0] ?? '').vhost;
  const identity = await identityOf(managementOf(fleet, entry), vhost).catch(() => undefined);
  return identity === undefined ? [] : [[id, identity]];
}

async function linesOf(
  fleet: FleetParts,
  id: string,
  identities: ReadonlyMap<string, SetIdentity>,
): Promise<readonly string[]> {
  const { entry, catalog } = await findSet(fleet, id);
  const management = managementOf(fleet, entry);
  const { vhost } = loginOf(entry.brokerUrls[0] ?? '');
  try {
    const view = await readFederationView(management, { catalog, set: id, identities });
    const shovels = await readShovels(management, vhost);
    const held = await heldIn(entry, id);
    return [
      ...view.links.map(
        ({ upstream, state, error }) =>
          `from ${upstream}: ${state}${error === undefined ? '' : ` (${error})`}`,
      ),
      ...view.lags.map(({ downstream, messages }) => `to ${downstream}: ${messages} messages wait`),
      ...shovels.map(
        ({ name, from, to, state, reason }) =>
          `shovel ${name}, ${from} to ${to}: ${state}${reason === undefined ? '' : ` (${reason})`}`,
      ),
      ...[...held].map(([origin, copies]) => `holds ${copies} copies of ${origin}`),
    ];
  } catch (error) {
    return [`! ${asProblem(error).message}`];
  }
}

async function heldIn(entry: FoundSet['entry'], id: string): Promise<ReadonlyMap<string, number>> {
  const counts = await Promise.all(storesOf(entry, id).map((store) => store.countHeld()));
  const total = new Map<string, number>();
  for (const count of counts)
    for (const [origin, held] of count) total.set(origin, (total.get(origin) ?? 0) + held);
  return total;
}

function storesOf({ databaseUrls }: FoundSet['entry'], id: string) {
  return databaseUrls.map((url) => openStore(openDatabase(url), id));
}

const shovelUsage = 'shovel NAME --from ID --to ID --queue QUEUE [--to-queue QUEUE]';

export const shovelAction: SetAction = {
  usage: shovelUsage,
  help: [
    'RabbitMQ moves what comes into a queue of one SET to one of another, until `unshovel`.',
    'Deliveries of what is moved are recorded where it arrives.',
  ],
  run: (args, print) =>
    withFleet(print, async (fleet) => {
      const options = {
        from: { type: 'string' },
        to: { type: 'string' },
        queue: { type: 'string' },
        'to-queue': { type: 'string' },
      } as const;
      const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true });
      const [name = ''] = positionals;
      const { from, to, queue } = values;
      if (
        !/^[a-z0-9][a-z0-9-]{0,62}$/.test(name) ||
        from === undefined ||
        to === undefined ||
        queue === undefined
      )
        throw new Problem('invalid-request', `A name is a–z, 0–9 and "-": setway sets ${shovelUsage}`);
      const toQueue = values['to-queue'] ?? queue;
      if (from === to && queue === toQueue)
        throw new Problem('invalid-request', 'A shovel from a queue to itself would never end.');
      await declareShovel(name, await endOf(fleet, from, queue), await endOf(fleet, to, toQueue));
      print(`${name}: ${queue} of ${from} goes to ${toQueue} of ${to}. Watch it: setway sets links ${from}`);
    }),
};

async function endOf(fleet: FleetParts, id: string, queue: string): Promise<ShovelEnd> {
  const { entry } = await findSet(fleet, id);
  const { brokerUrls } = entry;
  const { vhost } = loginOf(brokerUrls[0] ?? '');
  return { set: id, management: managementOf(fleet, entry), brokerUrls, vhost, queue };
}

export const unshovelAction: SetAction = {
  usage: 'unshovel NAME --from ID',
  help: ['Ends a shovel; what it had in hand goes back to its queue.'],
  run: (args, print) =>
    withFleet(print, async (fleet) => {
      const options = { from: { type: 'string' } } as const;
      const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true });
      const name = onlyId(positionals, 'unshovel NAME --from ID');
      const { entry } = await findSet(fleet, values.from ?? '');
      const { vhost } = loginOf(entry.brokerUrls[0] ?? '');
      await removeShovel(managementOf(fleet, entry), vhost, name);
      print(`${name}: removed`);
    }),
};

const promoteUsage = 'promote ID --of LOST --since 2h';

export const promoteAction: SetAction = {
  usage: promoteUsage,
  help: [
    'Sends the copies that a SET holds of a lost one (replicated topics), accepted since so long ago.',
    'Under the same ids: handlers behind a guard have their effect once, others may have it twice.',
  ],
  run: (args, print) =>
    withFleet(print, async (fleet) => {
      const options = { of: { type: 'string' }, since: { type: 'string' } } as const;
      const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true });
      const id = onlyId(positionals, promoteUsage);
      const { of: origin, since } = values;
      if (origin === undefined || since === undefined)
        throw new Problem('invalid-request', `Say of which SET, and since when: setway sets ${promoteUsage}`);
      const lost = (await fleet.center()).document.sets.find((set) => set.id === origin);
      if (lost?.status === 'active')
        throw new Problem(
          'conflict',
          `SET "${origin}" is active and delivers its messages itself. First: setway sets fence ${origin}.`,
        );
      const { entry } = await findSet(fleet, id);
      const sinceMs = fleet.clock.nowMs() - parseDurationMs(since, { at: '--since' });
      const amount = await promoteHeld({ set: id, stores: storesOf(entry, id) }, { origin, sinceMs });
      print(`${id}: ${amount} messages of ${origin} are its own now, and are sent within a minute`);
    }),
};
