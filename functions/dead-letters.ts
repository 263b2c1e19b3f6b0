/** Dead letters: deliveries that nobody tries again unless somebody says so. */
import { parseInstantMs } from '../shared/instant.ts';
import { latestFirst } from '../shared/sets/dead-letters.ts';
import type { DeadLetter, DeadLetterFilter } from '../shared/sets/dead-letters.ts';
import { answerJson } from './answer.ts';
import { askFleet } from './ask-fleet.ts';
import { authenticate } from './authenticate.ts';
import { readCursor, writeCursor } from './cursor.ts';
import { deadLettersDescription, deadLettersQuery, deathPosition } from './dead-letters-description.ts';
import type { Door } from './door.ts';
import { readQuery } from './query-parameters.ts';
import { belongingsOf, defaultLimit } from './search-messages.ts';
import type { Services } from './services.ts';

export function deadLetterDoors(services: Services): readonly Door[] {
  return [listDeadLetters(services)];
}

function listDeadLetters(services: Services): Door {
  return {
    description: deadLettersDescription,
    async open({ request, url }) {
      const { owner } = await authenticate(request, 'read', services);
      const { cursor, limit: limitText, ...asked } = readQuery(url().searchParams, deadLettersQuery);
      const limit = Number(limitText ?? defaultLimit);
      const after = cursor === undefined ? {} : { after: positionOf(cursor, asked) };
      const of = belongingsOf(await services.catalog.current(), owner);
      const search = { of, filter: filterOf(asked), limit: limit + 1, ...after };
      const { answers, incomplete } = await askFleet(services, (link) => link.deadLetters(search));
      const found = answers.flat().toSorted(latestFirst);
      const last = found.length > limit ? found[limit - 1] : undefined;
      const next = last === undefined ? {} : { next: cursorAfter(last, asked) };
      return answerJson(200, { deadLetters: found.slice(0, limit).map(shown), ...next, incomplete });
    },
  };
}

/** As clients write a filter of dead letters. */
export interface Asked {
  readonly subscription?: string | undefined;
  readonly topic?: string | undefined;
  readonly from?: string | undefined;
  readonly to?: string | undefined;
  readonly error?: string | undefined;
}

export function filterOf({ from, to, ...rest }: Asked): DeadLetterFilter {
  return {
    ...Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined)),
    ...(from === undefined ? {} : { fromMs: parseInstantMs(from, 'from') }),
    ...(to === undefined ? {} : { toMs: parseInstantMs(to, 'to') }),
  };
}

function shown(found: DeadLetter): Omit<DeadLetter, 'position'> {
  const { position: _, ...letter } = found;
  return letter;
}

function positionOf(cursor: string, asked: Asked) {
  const { at, id, s } = readCursor(cursor, asked, deathPosition);
  return { atMicros: at, id, subscription: s };
}

function cursorAfter({ position: { atMicros: at, id, subscription: s } }: DeadLetter, asked: Asked): string {
  return writeCursor(asked, { at, id, s });
}
