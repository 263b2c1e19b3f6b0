import { describe, expect, it } from 'vitest';
import { Problem } from '../../shared/problem.ts';
import { parsePlace, parsePlaceText, placeOfRequest, type Platform } from '../../shared/sets/place.ts';

const hangzhou = { latitude: 30.27, longitude: 120.15 };

function base64(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64');
}

/** Everything that may tell a place, each another one. */
const everything = {
  headers: new Headers({
    'x-vercel-ip-latitude': '1',
    'x-vercel-ip-longitude': '1',
    'cloudfront-viewer-latitude': '2',
    'cloudfront-viewer-longitude': '2',
    'fly-region': 'fra',
    'x-nf-geo': base64({ city: 'x', latitude: 3, longitude: 3 }),
  }),
  cf: { latitude: '4', longitude: '4' },
};

function faultsOf(task: () => unknown): readonly string[] {
  try {
    task();
  } catch (error) {
    if (error instanceof Problem && error.kind === 'invalid-request') {
      return (error.extras.faults ?? []).map((fault) => fault.at);
    }
    throw error;
  }
  throw new Error('nothing was refused');
}

describe('the place of a request', () => {
  it.each([
    ['vercel', { latitude: 1, longitude: 1 }],
    ['cloudfront', { latitude: 2, longitude: 2 }],
    ['netlify', { latitude: 3, longitude: 3 }],
    ['cloudflare', { latitude: 4, longitude: 4 }],
    ['fly', { latitude: 50.03, longitude: 8.57 }],
    ['none', undefined],
  ] satisfies [Platform, unknown][])('on %s comes only from what that platform says', (platform, place) => {
    expect(placeOfRequest(everything, { platform, clientPlace: 'forbidden' })).toEqual(place);
  });

  it.each(['cloudflare', 'vercel', 'cloudfront', 'fly', 'netlify', 'none'] satisfies Platform[])(
    'on %s is unknown when the platform says nothing',
    (platform) => {
      const silent = { headers: new Headers() };
      expect(placeOfRequest(silent, { platform, clientPlace: 'allowed' })).toBeUndefined();
    },
  );

  it.each([
    ['vercel', { 'x-vercel-ip-latitude': 'NaN', 'x-vercel-ip-longitude': '1' }],
    ['vercel', { 'x-vercel-ip-latitude': '1' }],
    ['cloudfront', { 'cloudfront-viewer-latitude': '91', 'cloudfront-viewer-longitude': '1' }],
    ['netlify', { 'x-nf-geo': '%%%' }],
    ['netlify', { 'x-nf-geo': base64(null) }],
    ['netlify', { 'x-nf-geo': base64({ latitude: 'x' }) }],
    ['fly', { 'fly-region': 'moon' }],
    ['fly', { 'fly-region': 'constructor' }],
  ] satisfies [Platform, Record<string, string>][])(
    'is unknown, not a fault of the client, when %s says nonsense',
    (platform, headers) => {
      const request = { headers: new Headers(headers) };
      expect(placeOfRequest(request, { platform, clientPlace: 'forbidden' })).toBeUndefined();
    },
  );

  it('is what the client says, if its key allows that', () => {
    const headers = new Headers({ 'setway-latitude': '30.27', 'setway-longitude': '120.15' });
    const request = { headers, cf: everything.cf };
    expect(placeOfRequest(request, { platform: 'cloudflare', clientPlace: 'allowed' })).toEqual(hangzhou);
    const inBody = { ...everything, coordinates: hangzhou };
    expect(placeOfRequest(inBody, { platform: 'vercel', clientPlace: 'allowed' })).toEqual(hangzhou);
  });

  it('sent by a client whose key does not allow that is refused as forbidden', () => {
    const headers = new Headers({ 'setway-latitude': '30.27', 'setway-longitude': '120.15' });
    expect(() => placeOfRequest({ headers }, { platform: 'none', clientPlace: 'forbidden' })).toThrow(
      expect.objectContaining({ kind: 'forbidden' }),
    );
  });

  it('reads plain JSON from Netlify too, as its edge functions see it', () => {
    const headers = new Headers({ 'x-nf-geo': JSON.stringify(hangzhou) });
    expect(placeOfRequest({ headers }, { platform: 'netlify', clientPlace: 'forbidden' })).toEqual(hangzhou);
  });
});

describe('coordinates of a client', () => {
  it.each([
    [{ latitude: 90.0001, longitude: 0 }, ['/latitude']],
    [{ latitude: -90.0001, longitude: 0 }, ['/latitude']],
    [{ latitude: 0, longitude: 180.0001 }, ['/longitude']],
    [{ latitude: NaN, longitude: 0 }, ['/latitude']],
    [{ latitude: Infinity, longitude: 0 }, ['/latitude']],
    [{ latitude: '30', longitude: 0 }, ['/latitude']],
    [{ latitude: 30 }, ['/longitude']],
    [{ longitude: 30 }, ['/latitude']],
    [{}, ['/latitude', '/longitude']],
    [{ latitude: null, longitude: [1] }, ['/latitude', '/longitude']],
  ])('%j are refused, naming each fault', (coordinates, faults) => {
    expect(faultsOf(() => parsePlace(coordinates))).toEqual(faults);
  });

  it.each([
    ['90.0001', '0'],
    ['30', null],
    [null, '30'],
    ['', ''],
    [' 30', '1'],
    ['0x10', '1'],
    ['1e1', '1'],
    ['30,5', '1'],
    ['NaN', '1'],
    ['1', 'Infinity'],
    ['1', '1'.repeat(10_000)],
  ])('as text %j, %j are refused', (latitude, longitude) => {
    expect(faultsOf(() => parsePlaceText(latitude, longitude)).length).toBeGreaterThan(0);
  });

  it('may lie on every border', () => {
    for (const latitude of [-90, 0, 90]) {
      for (const longitude of [-180, 0, 180]) {
        expect(parsePlace({ latitude, longitude })).toEqual({ latitude, longitude });
        expect(parsePlaceText(String(latitude), String(longitude))).toEqual({ latitude, longitude });
      }
    }
    expect(parsePlaceText(null, undefined)).toBeUndefined();
  });
});
