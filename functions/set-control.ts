/**
 * The control plane over HTTP: what `setway sets` does, for operators of the deployment. It needs an API key with the scope
 * `manage` whose owner is named in SETWAY_OPERATORS: SETs belong to everybody, so no tenant may touch them. Credentials come
 * in with a creation and never go out.
 *
 * Answers come when it is done: a creation takes seconds, a retirement with a shovel up to two minutes, a take-over as long
 * as its backlog. What the answer is lost of can be asked for (`GET /v1/sets/{id}`) and done again.
 */
import { applySet } from '../shared/fleet/apply-set.ts';
import { changeSet, moveSet } from '../shared/fleet/change-set.ts';
import { createSet, newSetSchema } from '../shared/fleet/create-set.ts';
import { describeChange } from '../shared/fleet/drift.ts';
import { findSet } from '../shared/fleet/fleet.ts';
import { openTraffic } from '../shared/fleet/open-traffic.ts';
import { planSet } from '../shared/fleet/plan-set.ts';
import { reportSet } from '../shared/fleet/report-set.ts';
import { retireSet } from '../shared/fleet/retire-set.ts';
import { Problem } from '../shared/problem.ts';
import { answerJson } from './answer.ts';
import { authenticate } from './authenticate.ts';
import { readFields } from './catalog-resource.ts';
import type { Door } from './door.ts';
import { readValue } from './json-body.ts';
import type { Services } from './services.ts';
import {
  applySetDescription,
  changeSetDescription,
  createSetDescription,
  moveSetDescription,
  planSetDescription,
  readSetDescription,
  retireRequest,
  retireSetDescription,
  setPatch,
  takeOverDescription,
  takeOverRequest,
} from './set-control-description.ts';

export function setControlDoors(services: Services): readonly Door[] {
  return [
    create(services),
    read(services),
    plan(services),
    apply(services),
    change(services),
    move(services, 'drain', 'draining'),
    activate(services),
    move(services, 'fence', 'fenced'),
    takeOver(services),
    retire(services),
  ];
}

/** @throws Problem `unauthenticated`, `forbidden` */
export async function authenticateOperator(request: Request, services: Services): Promise<void> {
  const { owner } = await authenticate(request, 'manage', services);
  if (services.operators.includes(owner)) return;
  throw new Problem(
    'forbidden',
    `SETs are for operators alone: name the owner "${owner}" in SETWAY_OPERATORS, or use setway sets.`,
  );
}

function create(services: Services): Door {
  return {
    description: createSetDescription,
    async open({ request }) {
      await authenticateOperator(request, services);
      const wanted = readValue(await readFields(request), newSetSchema);
      const { set } = await createSet(services.fleet, wanted);
      await openTraffic(services.fleet, { id: set, weight: wanted.weight, rampMs: 0 });
      return answerJson(201, await reportSet(services.fleet, set), { location: `/v1/sets/${set}` });
    },
  };
}

function read(services: Services): Door {
  return {
    description: readSetDescription,
    async open({ request, parameter }) {
      await authenticateOperator(request, services);
      return answerJson(200, await reportSet(services.fleet, parameter('id')));
    },
  };
}

function plan(services: Services): Door {
  return {
    description: planSetDescription,
    async open({ request, parameter }) {
      await authenticateOperator(request, services);
      const { set, changes } = await planSet(services.fleet, await findSet(services.fleet, parameter('id')));
      return answerJson(200, { set, changes: changes.map(describeChange) });
    },
  };
}

function apply(services: Services): Door {
  return {
    description: applySetDescription,
    async open({ request, parameter }) {
      await authenticateOperator(request, services);
      return answerJson(200, await applySet(services.fleet, parameter('id')));
    },
  };
}

function change(services: Services): Door {
  return {
    description: changeSetDescription,
    async open({ request, parameter }) {
      await authenticateOperator(request, services);
      const { weight, share, drift } = readValue(await readFields(request), setPatch);
      await changeSet(services.fleet, parameter('id'), {
        ...(weight === undefined ? {} : { weight }),
        ...(share === undefined ? {} : { share: share === 1 ? undefined : share }),
        ...(drift === undefined ? {} : { drift }),
      });
      return answerJson(200, await reportSet(services.fleet, parameter('id')));
    },
  };
}

function activate(services: Services): Door {
  return {
    description: moveSetDescription('activate'),
    async open({ request, parameter }) {
      await authenticateOperator(request, services);
      await services.comeBack(parameter('id'));
      return answerJson(200, await reportSet(services.fleet, parameter('id')));
    },
  };
}

function move(services: Services, action: 'drain' | 'fence', status: 'draining' | 'fenced'): Door {
  return {
    description: moveSetDescription(action),
    async open({ request, parameter }) {
      await authenticateOperator(request, services);
      await moveSet(services.fleet, parameter('id'), status);
      return answerJson(200, await reportSet(services.fleet, parameter('id')));
    },
  };
}

function takeOver(services: Services): Door {
  return {
    description: takeOverDescription,
    async open({ request, parameter }) {
      await authenticateOperator(request, services);
      const { by, lanes } = readValue(await readFields(request), takeOverRequest);
      return answerJson(200, await services.takeOver({ set: parameter('id'), by, lanes }));
    },
  };
}

function retire(services: Services): Door {
  return {
    description: retireSetDescription,
    async open({ request, parameter }) {
      await authenticateOperator(request, services);
      const { shovelTo } = readValue(await readFields(request), retireRequest);
      const id = parameter('id');
      await retireSet(services.fleet, { id, shovelTo });
      return answerJson(200, { id, status: 'retired' });
    },
  };
}
