/**
 * Where a request comes from. First what the client says about itself, if its key allows that; then what the platform
 * says. A platform's header proves something only behind that platform (anybody can send `x-vercel-ip-latitude` to a
 * Node server), so a setting names the platform and no other header is read. A platform that tells nothing usable is
 * no fault of the client: the place is unknown then. Coordinates of the client that are wrong are a 422.
 */
import { Buffer } from 'node:buffer';
import { Problem } from '../problem.ts';
import { placeOfFlyRegion } from './fly-region.ts';
import type { Place } from './set.ts';

/** Whose geolocation to trust; `none` trusts no header. */
export type Platform = 'cloudflare' | 'vercel' | 'cloudfront' | 'fly' | 'netlify' | 'none';

/** Coordinates as a client wrote them, in JSON: two numbers. */
export interface Coordinates {
  readonly latitude?: unknown;
  readonly longitude?: unknown;
}

export interface PlacedRequest {
  readonly headers: { get(name: string): string | null };
  /** Cloudflare's `request.cf`. */
  readonly cf?: Coordinates | undefined;
  /** Coordinates from the request's body. */
  readonly coordinates?: Coordinates | undefined;
}

export interface PlaceTrust {
  readonly platform: Platform;
  /** Whether the key of this request may say where it is (`maySetPlace`); a refused attempt is a 403. */
  readonly clientPlace: 'allowed' | 'forbidden';
}

/**
 * @throws Problem `invalid-request` for wrong coordinates of the client, `forbidden` when its key may not send any
 * @example placeOfRequest({ headers: request.headers, cf: request.cf }, { platform: 'cloudflare', clientPlace: 'forbidden' })
 */
export function placeOfRequest(request: PlacedRequest, trust: PlaceTrust): Place | undefined {
  return placeOfClient(request, trust) ?? placeOfPlatform(request, trust.platform);
}

/**
 * Checks coordinates that came as JSON.
 * @param at JSON pointer of the object that holds them
 * @throws Problem `invalid-request` naming each fault
 */
export function parsePlace(coordinates: Coordinates, at = ''): Place {
  const latitude = asDegrees(coordinates.latitude, 90);
  const longitude = asDegrees(coordinates.longitude, 180);
  if (latitude !== undefined && longitude !== undefined) return { latitude, longitude };
  const faults = [
    ...(latitude === undefined
      ? [{ at: `${at}/latitude`, detail: 'Degrees from -90 to 90, as a number.' }]
      : []),
    ...(longitude === undefined
      ? [{ at: `${at}/longitude`, detail: 'Degrees from -180 to 180, as a number.' }]
      : []),
  ];
  throw new Problem('invalid-request', 'A place needs a valid latitude and a valid longitude.', { faults });
}

/**
 * Checks coordinates that came as text, in headers or a query; undefined when both are absent.
 * @throws Problem `invalid-request` naming each fault, also for one half alone
 */
export function parsePlaceText(
  latitude: string | null | undefined,
  longitude: string | null | undefined,
): Place | undefined {
  if ((latitude ?? longitude ?? undefined) === undefined) return undefined;
  return parsePlace({ latitude: decimal(latitude), longitude: decimal(longitude) });
}

function placeOfClient(request: PlacedRequest, trust: PlaceTrust): Place | undefined {
  const { coordinates, headers } = request;
  const latitude = headers.get('setway-latitude');
  const longitude = headers.get('setway-longitude');
  if (coordinates === undefined && latitude === null && longitude === null) return undefined;
  if (trust.clientPlace === 'forbidden') {
    throw new Problem('forbidden', 'This API key may not say where it is. Leave the coordinates out.');
  }
  return coordinates === undefined ? parsePlaceText(latitude, longitude) : parsePlace(coordinates);
}

function placeOfPlatform(request: PlacedRequest, platform: Platform): Place | undefined {
  const { headers, cf } = request;
  switch (platform) {
    case 'cloudflare':
      return usable(cf ?? {});
    case 'vercel':
      return usable({
        latitude: headers.get('x-vercel-ip-latitude'),
        longitude: headers.get('x-vercel-ip-longitude'),
      });
    case 'cloudfront':
      return usable({
        latitude: headers.get('cloudfront-viewer-latitude'),
        longitude: headers.get('cloudfront-viewer-longitude'),
      });
    case 'netlify':
      return usable(netlifyGeo(headers.get('x-nf-geo')));
    case 'fly':
      return placeOfFlyRegion(headers.get('fly-region') ?? '');
    case 'none':
      return undefined;
  }
}

/** A platform's coordinates, texts or numbers, if both are good. */
function usable(coordinates: Coordinates): Place | undefined {
  const latitude = asDegrees(degreesOf(coordinates.latitude), 90);
  const longitude = asDegrees(degreesOf(coordinates.longitude), 180);
  return latitude === undefined || longitude === undefined ? undefined : { latitude, longitude };
}

function degreesOf(value: unknown): unknown {
  return typeof value === 'string' ? decimal(value) : value;
}

/** Netlify's geolocation: JSON, base64-encoded for functions and plain for edge functions. */
function netlifyGeo(header: string | null): Coordinates {
  if (header === null) return {};
  const json = header.startsWith('{') ? header : Buffer.from(header, 'base64').toString('utf8');
  try {
    const geo: unknown = JSON.parse(json);
    return typeof geo === 'object' && geo !== null ? geo : {};
  } catch {
    return {}; // an unreadable header tells no place, like an absent one
  }
}

/** A decimal number and nothing else: `Number` would also take '', ' 1 ', '0x10' and '1e1'. */
function decimal(text: string | null | undefined): number | undefined {
  return typeof text === 'string' && /^[+-]?\d{1,3}(\.\d{1,20})?$/.test(text) ? Number(text) : undefined;
}

/** NaN fails every comparison, so it is refused too. */
function asDegrees(value: unknown, limit: number): number | undefined {
  return typeof value === 'number' && Math.abs(value) <= limit ? value : undefined;
}
