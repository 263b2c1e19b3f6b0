/**
 * `setway sets ACTION …`: the table of actions, each in a file of its own. An action gets what stands behind it on the
 * command line; what it throws is printed as one text, and the exit code is 1.
 */
import { didYouMean } from '../../shared/nearest-name.ts';
import { Problem } from '../../shared/problem.ts';
import type { SetAction } from './set-action.ts';
import { createAction } from './sets-create.ts';
import {
  federateAction,
  linksAction,
  promoteAction,
  shovelAction,
  unshovelAction,
} from './sets-federation.ts';
import { drainAction, driftAction, fenceAction, retireAction, weightAction } from './sets-life.ts';
import { applyAction, planAction } from './sets-plan.ts';
import { statusAction } from './sets-status.ts';
import { activateAction, takeOverAction } from './sets-take-over.ts';

const actions: Readonly<Record<string, SetAction>> = {
  create: createAction,
  status: statusAction,
  plan: planAction,
  apply: applyAction,
  weight: weightAction,
  drift: driftAction,
  drain: drainAction,
  activate: activateAction,
  fence: fenceAction,
  'take-over': takeOverAction,
  retire: retireAction,
  federate: federateAction,
  links: linksAction,
  shovel: shovelAction,
  unshovel: unshovelAction,
  promote: promoteAction,
};

/** @throws Problem `invalid-request` for an action nobody knows, with the nearest */
export async function runSets(args: readonly string[], print: (text: string) => void): Promise<void> {
  const [name = '--help', ...rest] = args;
  const action = Object.hasOwn(actions, name) ? actions[name] : undefined;
  if (name === '--help' || name === 'help') return print(helpOf(Object.values(actions)));
  if (!action)
    throw new Problem(
      'invalid-request',
      `There is no action "${name}".${didYouMean(name, Object.keys(actions))} See setway sets --help.`,
    );
  if (rest.includes('--help')) return print(helpOf([action]));
  return action.run(rest, print);
}

function helpOf(shown: readonly SetAction[]): string {
  const lines = shown.flatMap(({ usage, help }) => [
    `  setway sets ${usage}`,
    ...help.map((line) => `      ${line}`),
  ]);
  return ['setway sets — create, watch, drain and retire SETs', '', ...lines].join('\n');
}
