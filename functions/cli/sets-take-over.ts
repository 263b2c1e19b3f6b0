/** `setway sets take-over` and `activate`: what a SET has goes to its siblings, and it comes back. */
import { parseArgs } from 'node:util';
import { comeBack } from '../../shared/fleet/come-back.ts';
import { takeOver, type TakeOverParts } from '../../shared/fleet/take-over.ts';
import { driveMove, planMove } from '../../shared/fleet/move-buckets.ts';
import { Problem } from '../../shared/problem.ts';
import type { Holding } from '../../shared/sets/ownership.ts';
import { readSettings } from '../../shared/settings.ts';
import { createTakeOverParts } from '../assemble-take-over.ts';
import { createWorld } from '../assemble.ts';
import { openDrivers } from '../node/drivers.ts';
import { onlyId } from './open-fleet.ts';
import type { SetAction } from './set-action.ts';

type Print = (text: string) => void;

export const takeOverAction: SetAction = {
  usage: 'take-over ID [--by ID,ID] [--lanes open]',
  help: [
    'Fences a SET and moves what it has not delivered to siblings, with its buckets; by those',
    'named, or by all that take new traffic. Safe to repeat: it goes on where it stood. When its',
    'database does not answer, what is there waits; what others keep copies of is promoted, and',
    'its lanes stay closed, or with --lanes open go on without what is left behind.',
  ],
  run: (args, print) =>
    withParts(print, async (parts) => {
      const options = { by: { type: 'string' }, lanes: { type: 'string' } } as const;
      const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true });
      const set = onlyId(positionals, 'take-over ID');
      const by = values.by?.split(',').map((id) => id.trim());
      if (values.lanes !== undefined && values.lanes !== 'open')
        throw new Problem('invalid-request', 'Say --lanes open, or leave it out: then they stay closed.');
      await takeOver(parts, { set, by, lanes: values.lanes });
    }),
};

export const activateAction: SetAction = {
  usage: 'activate ID [--take-back]',
  help: [
    'Lets a SET work again and take new traffic by its weight. Refuses, and says why, while',
    'a part of what it had is still to be taken over. --take-back moves the buckets back that it',
    'gave away, each when the SET that has it has delivered what it took.',
  ],
  run: (args, print) =>
    withParts(print, async (parts) => {
      const options = { 'take-back': { type: 'boolean' } } as const;
      const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true });
      const set = onlyId(positionals, 'activate ID');
      await comeBack(parts, set);
      if (values['take-back'] === true) await takeBack(parts, set, print);
    }),
};

/** Of what it gave away, and nobody has moved since. */
async function takeBack({ handovers, moves }: TakeOverParts, set: string, print: Print): Promise<void> {
  const [home] = await handovers(set);
  const given = (await home?.lastPlan(set))?.given ?? [];
  const { buckets } = await moves.read();
  const isThere = ({ from, to, set: heir, epoch }: Holding): boolean =>
    buckets.some(
      (now) => now.from <= from && to <= now.to && now.set === heir && now.epoch === epoch && heir !== set,
    );
  for (const { from, to } of given.filter(isThere)) {
    const untilMs = moves.clock.nowMs() + takeBackMs;
    const move = await planMove(moves, { from, to, target: set, untilMs });
    const { outcome } = await driveMove(moves, move, { maxMs: takeBackMs + 30_000 });
    print(
      outcome === 'moved'
        ? `SET "${set}" has buckets ${from} to ${to} again.`
        : `Buckets ${from} to ${to} stay with "${move.source}": setway routes move tries again.`,
    );
  }
}

/** So long the lanes of a range are waited for, which are closed meanwhile. */
const takeBackMs = 120_000;

async function withParts(print: Print, work: (parts: TakeOverParts) => Promise<void>): Promise<void> {
  const settings = readSettings(process.env);
  const drivers = openDrivers(settings);
  try {
    const world = createWorld(settings, {
      redis: drivers.redis,
      inBackground: (begun) => void begun,
      log: () => undefined,
    });
    await work(createTakeOverParts(world, print));
  } finally {
    await drivers.close();
  }
}
