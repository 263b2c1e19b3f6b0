/**
 * Where Fly.io's regions are. Fly tells no coordinates of the client, but names the region that took the connection
 * (`fly-region`) by the IATA code of an airport near it, and anycast brings a client to a near region.
 * Source: https://fly.io/docs/reference/regions/; coordinates of the airports, to two decimals (about a kilometre).
 */
import type { Place } from './set.ts';

const coordinates: Readonly<Record<string, readonly [latitude: number, longitude: number]>> = {
  ams: [52.31, 4.76],
  arn: [59.65, 17.92],
  atl: [33.64, -84.43],
  bog: [4.7, -74.15],
  bom: [19.09, 72.87],
  bos: [42.36, -71.01],
  cdg: [49.01, 2.55],
  den: [39.86, -104.67],
  dfw: [32.9, -97.04],
  ewr: [40.69, -74.17],
  eze: [-34.82, -58.54],
  fra: [50.03, 8.57],
  gdl: [20.52, -103.31],
  gig: [-22.81, -43.25],
  gru: [-23.43, -46.47],
  hkg: [22.31, 113.91],
  iad: [38.94, -77.46],
  jnb: [-26.14, 28.25],
  lax: [33.94, -118.41],
  lhr: [51.47, -0.45],
  maa: [12.99, 80.17],
  mad: [40.49, -3.57],
  mia: [25.79, -80.29],
  nrt: [35.76, 140.39],
  ord: [41.98, -87.9],
  otp: [44.57, 26.09],
  phx: [33.43, -112.01],
  qro: [20.62, -100.19],
  scl: [-33.39, -70.79],
  sea: [47.45, -122.31],
  sin: [1.36, 103.99],
  sjc: [37.36, -121.93],
  syd: [-33.95, 151.18],
  waw: [52.17, 20.97],
  yul: [45.47, -73.74],
  yyz: [43.68, -79.63],
};

/** The place of a region, or undefined for a code this list does not know. */
export function placeOfFlyRegion(code: string): Place | undefined {
  const known = Object.hasOwn(coordinates, code) ? coordinates[code] : undefined;
  return known && { latitude: known[0], longitude: known[1] };
}
