/** Where Cloudflare should put a SET's Durable Object (Durable Objects: data location): the region nearest to the SET. */
import { distanceKm } from '../../shared/sets/distance.ts';
import type { Place } from '../../shared/sets/set.ts';

/** A city in the middle of what each hint stands for. */
const regions: readonly { readonly hint: DurableObjectLocationHint; readonly place: Place }[] = [
  { hint: 'wnam', place: { latitude: 37.4, longitude: -122.1 } },
  { hint: 'enam', place: { latitude: 39.0, longitude: -77.5 } },
  { hint: 'sam', place: { latitude: -23.5, longitude: -46.6 } },
  { hint: 'weur', place: { latitude: 50.1, longitude: 4.5 } },
  { hint: 'eeur', place: { latitude: 52.2, longitude: 21.0 } },
  { hint: 'apac', place: { latitude: 22.3, longitude: 114.2 } },
  { hint: 'oc', place: { latitude: -33.9, longitude: 151.2 } },
  { hint: 'afr', place: { latitude: -26.2, longitude: 28.0 } },
  { hint: 'me', place: { latitude: 25.2, longitude: 55.3 } },
];

/** @example locationHintOf({ latitude: 30.3, longitude: 120.2 }) // 'apac' (Hangzhou) */
export function locationHintOf(place: Place): DurableObjectLocationHint {
  const nearest = regions.reduce((best, region) =>
    distanceKm(region.place, place) < distanceKm(best.place, place) ? region : best,
  );
  return nearest.hint;
}
