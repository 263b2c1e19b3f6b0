/**
 * Who has which keys: buckets and pins of the SETs, and moves of buckets from one SET to another. For operators, as the
 * SETs are: keys of all owners are in the same buckets.
 */
import { driveMove, planMove } from '../shared/fleet/move-buckets.ts';
import { Problem } from '../shared/problem.ts';
import { findSet } from '../shared/sets/route-table.ts';
import { isWithinBuckets, type BucketMove } from '../shared/sets/ownership.ts';
import { answerJson } from './answer.ts';
import type { Door } from './door.ts';
import { readValue } from './json-body.ts';
import { readFields } from './catalog-resource.ts';
import { listRoutesDescription, moveRequest, moveRoutesDescription } from './routes-description.ts';
import type { Services } from './services.ts';
import { authenticateOperator } from './set-control.ts';

export function routeDoors(services: Services): readonly Door[] {
  return [list(services), move(services)];
}

function list(services: Services): Door {
  return {
    description: listRoutesDescription,
    async open({ request }) {
      await authenticateOperator(request, services);
      const { version, table, moves = [] } = await services.catalog.current();
      const pins = [...table.pins].map(([name, set]) => {
        const [topic = '', key = ''] = name.split('\0');
        return topic === '' ? { key, set } : { topic, key, set };
      });
      return answerJson(200, { version, buckets: table.ranges, moves: moves.map(shown), pins });
    },
  };
}

/** A request works on a move for so long; the cron, or the same request again, goes on. */
const maxMs = 2_000;

function move(services: Services): Door {
  return {
    description: moveRoutesDescription,
    async open({ request }) {
      await authenticateOperator(request, services);
      const { from, to, set, giveUpAfterSeconds } = readValue(await readFields(request), moveRequest);
      if (!isWithinBuckets({ from, to })) throw new Problem('invalid-request', '"from" is above "to".');
      findSet((await services.catalog.current()).table, set);
      const untilMs = services.clock.nowMs() + giveUpAfterSeconds * 1_000;
      const planned = await planMove(services.moves, { from, to, target: set, untilMs });
      const { outcome, lanesLeft, waitsFor } = await driveMove(services.moves, planned, { maxMs });
      return answerJson(outcome === 'draining' ? 202 : 200, {
        ...shown(planned),
        state: outcome,
        lanesLeft,
        waitsFor,
      });
    },
  };
}

function shown({ untilMs, ...each }: BucketMove): object {
  return { ...each, givesUpAt: new Date(untilMs).toISOString() };
}
