/** Pins: keys that always go to one SET. For operators, as the SETs are: a pin may hold for topics of all owners. */
import {
  findPinEntry,
  noPin,
  pinKey,
  unpinKey,
  type PinEntry,
  type PinName,
} from '../shared/catalog/pins.ts';
import { Problem } from '../shared/problem.ts';
import { pinName } from '../shared/sets/route-table.ts';
import { answerJson } from './answer.ts';
import { readFields, requireMatch, versionTag } from './catalog-resource.ts';
import type { Door, Visit } from './door.ts';
import { readValue } from './json-body.ts';
import { readQuery } from './query-parameters.ts';
import {
  pinnedKey,
  pinQuery,
  pinRequest,
  putPinDescription,
  readPinDescription,
  removePinDescription,
} from './pins-description.ts';
import type { Services } from './services.ts';
import { authenticateOperator } from './set-control.ts';

export function pinDoors(services: Services): readonly Door[] {
  return [read(services), put(services), remove(services)];
}

function read(services: Services): Door {
  return {
    description: readPinDescription,
    async open(visit) {
      await authenticateOperator(visit.request, services);
      const { table } = await services.catalog.current();
      const name = nameOf(visit);
      const set = table.pins.get(pinName(name.topic, name.key));
      if (set === undefined) throw noPin(name);
      return answerPin(200, { ...name, set });
    },
  };
}

function put(services: Services): Door {
  return {
    description: putPinDescription,
    async open(visit) {
      const { request } = visit;
      await authenticateOperator(request, services);
      const { set } = readValue(await readFields(request), pinRequest);
      const { topic, key } = nameOf(visit);
      const wanted = { ...(topic === undefined ? {} : { topic }), ...readValue({ key }, pinnedKey), set };
      let status = 200;
      await services.catalogWriter.write((document) => {
        const found = findPinEntry(document, wanted);
        // Where a key goes on from is the caller's to know; that it goes where it is already changes nothing.
        if (found && found.set !== set) requireMatch(request, versionTag(found));
        if (!found && request.headers.has('if-match'))
          throw new Problem('precondition-failed', 'It is not pinned any more. Read it and decide again.');
        status = found ? 200 : 201;
        return pinKey(document, wanted);
      });
      return answerPin(status, wanted);
    },
  };
}

function remove(services: Services): Door {
  return {
    description: removePinDescription,
    async open(visit) {
      await authenticateOperator(visit.request, services);
      const name = nameOf(visit);
      let gone: PinEntry | undefined;
      await services.catalogWriter.write((document) => {
        gone = findPinEntry(document, name);
        if (gone) requireMatch(visit.request, versionTag(gone));
        return unpinKey(document, name);
      });
      if (!gone) throw noPin(name);
      return answerJson(200, gone);
    },
  };
}

function nameOf({ url }: Visit): PinName {
  const { topic, key } = readQuery(url().searchParams, pinQuery);
  return topic === undefined ? { key } : { topic, key };
}

function answerPin(status: number, pin: PinEntry) {
  return answerJson(status, pin, { etag: versionTag(pin) });
}
