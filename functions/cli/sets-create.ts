import { parseArgs } from 'node:util';
import { createSet, newSetSchema } from '../../shared/fleet/create-set.ts';
import { openTraffic } from '../../shared/fleet/open-traffic.ts';
import { Problem } from '../../shared/problem.ts';
import { readValue } from '../json-body.ts';
import { numberOf } from './number-option.ts';
import { onlyId, withFleet } from './open-fleet.ts';
import type { SetAction } from './set-action.ts';

const usage =
  'create ID --place LAT,LON --management URL --broker URL… --database URL… [--kind unit|center] [--number N] [--weight W] [--ramp SECONDS] [--capacity N] [--drift report|repair]';

const options = {
  place: { type: 'string' },
  management: { type: 'string' },
  broker: { type: 'string', multiple: true },
  database: { type: 'string', multiple: true },
  kind: { type: 'string', default: 'unit' },
  number: { type: 'string' },
  weight: { type: 'string', default: '1' },
  ramp: { type: 'string', default: '0' },
  capacity: { type: 'string' },
  drift: { type: 'string' },
} as const;

/** From an empty RabbitMQ and an empty database to a SET that serves. */
export const createAction: SetAction = {
  usage,
  help: [
    'From an empty RabbitMQ and an empty database to a SET that serves: migrates, makes vhost,',
    'user, limits, policies, exchanges, queues and bindings, checks, enters the catalog with',
    'weight 0, and takes traffic. A broker URL without a user (amqp://host:5672, or /vhost',
    'behind it) lets Setway make vhost and user. --weight 0 leaves it closed; --ramp 60 takes',
    '1 % of its traffic for 60 s first.',
  ],
  async run(args, print) {
    const beganMs = performance.now();
    const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true });
    const wanted = readValue(
      {
        id: onlyId(positionals, usage),
        kind: values.kind,
        place: placeOf(values.place),
        brokerUrls: values.broker ?? [],
        databaseUrls: values.database ?? [],
        managementUrl: values.management,
        ...(values.number === undefined ? {} : { number: numberOf('number', values.number) }),
        ...(values.capacity === undefined ? {} : { capacity: numberOf('capacity', values.capacity) }),
        ...(values.drift === undefined ? {} : { drift: values.drift }),
        weight: numberOf('weight', values.weight),
      },
      newSetSchema,
    );
    const rampMs = numberOf('ramp', values.ramp) * 1_000;
    await withFleet(print, async (fleet) => {
      const { set } = await createSet(fleet, wanted);
      await openTraffic(fleet, { id: set, weight: wanted.weight, rampMs });
      print(`SET ${set} is there after ${((performance.now() - beganMs) / 1000).toFixed(1)} s`);
    });
  },
};

function placeOf(text: string | undefined): object {
  const [, latitude, longitude] = /^(-?[\d.]+),(-?[\d.]+)$/.exec(text ?? '') ?? [];
  if (latitude === undefined || longitude === undefined)
    throw new Problem('invalid-request', 'Say where it is in degrees: --place 35.68,139.69');
  return { latitude: Number(latitude), longitude: Number(longitude) };
}
