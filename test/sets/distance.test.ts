import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chordToKm, distanceKm, earthRadiusKm, kmToChord } from '../../shared/sets/distance.ts';
import type { Place } from '../../shared/sets/set.ts';
import { places } from './arbitraries.ts';

const halfWayRoundKm = Math.PI * earthRadiusKm;

/** Another formula for the same thing (Vincenty's for the sphere), accurate at every distance. */
function byArcTangent(a: Place, b: Place): number {
  const radians = (degrees: number) => (degrees * Math.PI) / 180;
  const [phi1, phi2] = [radians(a.latitude), radians(b.latitude)];
  const delta = radians(b.longitude - a.longitude);
  const across = Math.hypot(
    Math.cos(phi2) * Math.sin(delta),
    Math.cos(phi1) * Math.sin(phi2) - Math.sin(phi1) * Math.cos(phi2) * Math.cos(delta),
  );
  const along = Math.sin(phi1) * Math.sin(phi2) + Math.cos(phi1) * Math.cos(phi2) * Math.cos(delta);
  return earthRadiusKm * Math.atan2(across, along);
}

describe('the distance', () => {
  it.each([
    [
      'Hangzhou to Frankfurt',
      { latitude: 30.27, longitude: 120.15 },
      { latitude: 50.11, longitude: 8.68 },
      8_794,
    ],
    [
      'London to New York',
      { latitude: 51.5074, longitude: -0.1278 },
      { latitude: 40.7128, longitude: -74.006 },
      5_570,
    ],
    ['pole to pole', { latitude: 90, longitude: 10 }, { latitude: -90, longitude: -70 }, 20_015],
    [
      '0.2 degrees of the equator across the antimeridian',
      { latitude: 0, longitude: 179.9 },
      { latitude: 0, longitude: -179.9 },
      22.24,
    ],
  ] as const)('%s', (_name, a, b, km) => {
    expect(Math.abs(distanceKm(a, b) - km)).toBeLessThan(km * 0.005);
  });

  it('is 0 between 180 and −180 degrees, at every latitude', () => {
    fc.assert(
      fc.property(fc.double({ min: -90, max: 90, noNaN: true }), (latitude) => {
        expect(distanceKm({ latitude, longitude: 180 }, { latitude, longitude: -180 })).toBe(0);
      }),
    );
  });

  it('is 0 at a pole, whatever the longitudes', () => {
    fc.assert(
      fc.property(places, places, (a, b) => {
        expect(distanceKm({ ...a, latitude: 90 }, { ...b, latitude: 90 })).toBe(0);
        expect(distanceKm({ ...a, latitude: -90 }, { ...b, latitude: -90 })).toBe(0);
      }),
    );
  });

  it('is a number from 0 to half way round, the same both ways, and 0 to itself', () => {
    fc.assert(
      fc.property(places, places, (a, b) => {
        const km = distanceKm(a, b);
        expect(km).toBeGreaterThanOrEqual(0);
        expect(km).toBeLessThanOrEqual(halfWayRoundKm + 1e-6);
        expect(distanceKm(b, a)).toBe(km);
        expect(distanceKm(a, a)).toBe(0);
      }),
      { numRuns: 1_000 },
    );
  });

  it('agrees with another formula within a metre, also at antipodes', () => {
    const antipode = ({ latitude, longitude }: Place): Place => ({
      latitude: -latitude,
      longitude: longitude > 0 ? longitude - 180 : longitude + 180,
    });
    fc.assert(
      fc.property(places, places, (a, b) => {
        expect(Math.abs(distanceKm(a, b) - byArcTangent(a, b))).toBeLessThan(0.001);
        expect(Math.abs(distanceKm(a, antipode(a)) - halfWayRoundKm)).toBeLessThan(0.001);
      }),
      { numRuns: 1_000 },
    );
  });

  it('is half way round for a chord that rounding made longer than the diameter', () => {
    expect(chordToKm(4 + 1e-12)).toBe(halfWayRoundKm);
  });

  it('comes back from its chord', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 20_000, noNaN: true }), (km) => {
        expect(Math.abs(chordToKm(kmToChord(km)) - km)).toBeLessThan(0.001);
      }),
    );
  });
});
