/**
 * Lanes whose home has changed since the edge read its catalog. Their SET refuses them, by the epoch of their bucket, or
 * because it is fenced, or does not answer any more; nothing of what was refused is stored there. The edge reads the
 * catalog again and offers them to the home it says now, under the same ids. While their bucket is on the move nobody
 * takes them: the edge looks again until its time is over, and then answers 503.
 */
import type { CatalogSource } from '../catalog/catalog.ts';
import { asProblem, Problem } from '../problem.ts';
import type { RouteTable } from '../sets/route-table.ts';
import type { Candidate } from '../sets/route.ts';
import { noneLeft, offerInTurn, type Offering, type OfferParts, type Unplaced } from './offer-in-turn.ts';
import type { Published } from './publisher.ts';

export interface AtHomeParts extends OfferParts {
  readonly catalog: CatalogSource;
}

type Result = Published | Problem;

/** Between two looks at the catalog; doubled until the longest. */
const firstPauseMs = 20;
const longestPauseMs = 250;

/** As `offerInTurn`, with what its home refuses. @returns one result per offer; never rejects */
export async function offerAtHome(parts: AtHomeParts, offering: Offering): Promise<readonly Result[]> {
  const endMs = parts.clock.nowMs() + parts.acceptDeadlineMs;
  const results = [...(await offerOnce(parts, offering))];
  let offers = offering.offers;
  for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
    const astray = offers.flatMap((_, index) => (isAstray(offers, results, index) ? [index] : []));
    if (astray.length === 0 || parts.clock.nowMs() + pauseMs >= endMs) return results;
    const { table } = await renewed(parts.catalog);
    const before = offers;
    offers = offers.map((offer, index) => (astray.includes(index) ? rehomed(offers, offer, table) : offer));
    const moved = astray.filter((index) => homeText(offers[index]) !== homeText(before[index]));
    const isMoving = astray.some((index) => kindOf(results[index]) === 'misrouted');
    if (moved.length === 0 && !isMoving) return results;
    if (moved.length === 0) await new Promise<void>((resolve) => parts.clock.after(pauseMs, resolve));
    const left = { ...parts, acceptDeadlineMs: endMs - parts.clock.nowMs() };
    const groups = Map.groupBy(moved, (index) => offers[index]?.candidates[0]?.set.id);
    const again = async (group: readonly number[]): Promise<void> => {
      const some = group.flatMap((index) => offers[index] ?? []);
      const taken = await offerOnce(left, { ...offering, offers: some });
      group.forEach((index, nth) => (results[index] = taken[nth] ?? noneLeft()));
    };
    await Promise.all([...groups.values()].map(again));
  }
}

async function offerOnce(parts: AtHomeParts, offering: Offering): Promise<readonly Result[]> {
  const taken = await offerInTurn(parts, offering).catch(asProblem);
  return taken instanceof Problem ? offering.offers.map(() => taken) : taken;
}

/** A catalog that cannot be read now may be readable at the next look. */
async function renewed(catalog: CatalogSource): ReturnType<CatalogSource['current']> {
  return (await catalog.renew?.().catch(() => undefined)) ?? catalog.current();
}

function isAstray(offers: readonly Unplaced[], results: readonly Result[], index: number): boolean {
  const [offer, result] = [offers[index], results[index]];
  return result instanceof Problem && result.retryable && offer !== undefined && hasHome(offers, offer);
}

/** A lane, or bound to one. */
function hasHome(offers: readonly Unplaced[], { unit, rehome }: Unplaced): boolean {
  if (rehome) return true;
  return unit !== undefined && offers.some((each) => each.unit === unit && each.rehome !== undefined);
}

/** What is bound together goes where its lanes go, if they go to one SET. */
function rehomed(offers: readonly Unplaced[], offer: Unplaced, table: RouteTable): Unplaced {
  const { home: _old, ...kept } = offer;
  const mates = offer.unit === undefined ? [offer] : offers.filter(({ unit }) => unit === offer.unit);
  try {
    const homes = mates.flatMap(({ rehome }) => rehome?.(table) ?? []);
    const [first] = homes;
    if (!first || homes.some(({ set }) => set.id !== first.set.id)) return offer;
    const own = offer.rehome?.(table);
    return { ...kept, ...homeOf(own), candidates: [own ?? first] };
  } catch {
    // There is no home now; there may be one at the next look.
    return offer;
  }
}

/** What a SET checks. */
export function homeOf(candidate: Candidate | undefined): Pick<Unplaced, 'home'> {
  const { bucket, epoch } = candidate ?? {};
  return bucket === undefined || epoch === undefined ? {} : { home: { bucket, epoch } };
}

function homeText(offer: Unplaced | undefined): string {
  return `${offer?.candidates[0]?.set.id} ${offer?.home?.epoch}`;
}

function kindOf(result: Result | undefined): string | undefined {
  return result instanceof Problem ? result.kind : undefined;
}
