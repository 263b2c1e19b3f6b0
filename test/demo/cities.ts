/** The largest cities of the world (cities.json: GeoNames, CC BY 4.0), drawn by population. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';

export interface City {
  readonly name: string;
  /** ISO 3166-1 alpha-2. */
  readonly country: string;
  /** Degrees, north and east positive. */
  readonly latitude: number;
  readonly longitude: number;
  readonly population: number;
}

const fileSchema = z.object({
  cities: z.array(z.tuple([z.string(), z.string(), z.number(), z.number(), z.number()])),
});

export function readCities(): readonly City[] {
  const text = readFileSync(path.join(import.meta.dirname, 'cities.json'), 'utf8');
  return fileSchema.parse(JSON.parse(text)).cities.map(([name, country, latitude, longitude, thousands]) => ({
    name,
    country,
    latitude,
    longitude,
    population: thousands * 1000,
  }));
}

/**
 * Draws cities, one with twice the people twice as often.
 *
 * @param random from 0 up to, not including, 1
 * @example const draw = drawByPopulation(readCities(), Math.random); draw().name
 */
export function drawByPopulation(cities: readonly City[], random: () => number): () => City {
  let people = 0;
  const upTo = cities.map(({ population }) => (people += population));
  return () => {
    const drawn = random() * people;
    const city = cities[upTo.findIndex((bound) => drawn < bound)];
    if (!city) throw new RangeError('There is no city to draw.');
    return city;
  };
}
