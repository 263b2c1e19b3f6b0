/**
 * How much of the traffic that nothing binds to a SET passes it over, because it is loaded or is let in slowly. Pure.
 *
 *     load = messages a second the SET takes, smoothed, by its capacity
 *
 *     passed over      0 ──────┐                 ┌────── 0.95
 *                              └── proportional ─┘
 *     at a load of            0.8               1.2
 *
 * A droop, as generators share a grid: a SET passes on more the more it has, and settles where what it keeps is what
 * makes it keep that much. With d times its capacity offered that is a load of 3d / (1 + 2.5d): 0.86 for d = 1, 1.09 for
 * d = 4, 1.15 for d = 9. The 5 % that always stay tell how it is doing.
 *
 * Stable only because the load is smoothed over far longer than word of it takes to reach the edges. One per cent more
 * load sends away 2.5d per cent of a capacity, so the gain of the loop is 10 for d = 4; behind a delay of T it swings
 * unless the smoothing is longer than about 6.4 T. From the host to the edge T is up to a heartbeat (30 s), a run of
 * `probe-sets` (60 s) and the age of the catalog (2 s). Simulated message by message (test/sets/balance.test.ts) for d = 4:
 * smoothed over 60 s it swings between 0.2 and 3.9 times the capacity for ever, over 300 s between 1.0 and 1.2, and over
 * 600 s it is at rest within twelve minutes. The price is the beginning: it is passed on after two minutes, after three
 * by a host that has just begun, and comes in full until then.
 */
const fromLoad = 0.8;
const overLoad = 0.4;
const mostPassed = 0.95;

/** Time constant of the mean that is a SET's rate; see above. */
export const rateSmoothingMs = 600_000;

export interface Admission {
  /** 1: as much as it can take; undefined: nobody knows. */
  readonly load?: number | undefined;
  /** Of a SET that is let in slowly: the part of the traffic that may go there. */
  readonly share?: number | undefined;
}

/** @returns undefined for a SET that nobody said the capacity of, or whose rate nobody knows */
export function loadOf(perSecond: number | undefined, capacity: number | undefined): number | undefined {
  return perSecond === undefined || capacity === undefined ? undefined : perSecond / capacity;
}

/**
 * The chance of a message that nothing binds to a SET to pass it over, 0 to 1.
 * @example passingChance({ load: 1 }) // 0.5
 * @example passingChance({ share: 0.01 }) // 0.99
 */
export function passingChance({ load = 0, share = 1 }: Admission): number {
  const byLoad = Math.min(mostPassed, Math.max(0, (load - fromLoad) / overLoad));
  return 1 - (1 - byLoad) * share;
}
