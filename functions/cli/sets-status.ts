import { parseArgs } from 'node:util';
import { reportSet, type SetReport } from '../../shared/fleet/report-set.ts';
import { withFleet } from './open-fleet.ts';
import type { SetAction } from './set-action.ts';

/** How SETs are: status, weight, what ails them, what drifted, what they hold. */
export const statusAction: SetAction = {
  usage: 'status [ID…]',
  help: ['How they are: status, weight, RabbitMQ, what ails them, what drifted, what they hold.'],
  run: (args, print) =>
    withFleet(print, async (fleet) => {
      const { positionals } = parseArgs({ args: [...args], allowPositionals: true });
      const { document } = await fleet.center();
      const all = document.sets.toSorted((a, b) => a.number - b.number).map(({ id }) => id);
      const ids = positionals.length > 0 ? positionals : all;
      const reports = await Promise.all(ids.map((id) => reportSet(fleet, id)));
      print(reports.map(told).join('\n'));
    }),
};

function told(report: SetReport): string {
  const { id, number, kind, status, weight, version, ailments, drift, left, links } = report;
  const rabbit = version === undefined ? [] : [`RabbitMQ ${version}`];
  const head = [`${id} (${kind} ${number})`, status, `weight ${weight}`, ...burden(report), ...rabbit];
  const lists = [
    ['!', ailments],
    ['drift', drift],
    ['link', links],
    ['holds', left],
  ] as const;
  const lines = lists.flatMap(([word, list]) => list.map((line) => `  ${word} ${line}`));
  return [head.join(', '), ...lines].join('\n');
}

function burden({ capacity, rate, load, share }: SetReport): readonly string[] {
  const most = capacity === undefined ? [] : [`up to ${capacity}/s`];
  const now = rate === undefined ? [] : [`takes ${rate.toFixed(1)}/s`];
  const loaded = load === undefined ? [] : [`load ${load.toFixed(2)}`];
  const slowly = share === undefined ? [] : [`share ${share}`];
  return [...slowly, ...most, ...now, ...loaded];
}
