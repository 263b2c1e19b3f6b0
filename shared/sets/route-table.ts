/**
 * The route table: everything a routing decision depends on, as one versioned document (`RouteTableData`, plain JSON)
 * and compiled for look-ups (`RouteTable`): places as unit vectors, one range number per bucket, pins in a map, and the
 * SETs open for new traffic as two lists. A decision then allocates next to nothing.
 */
import { z } from 'zod';
import { didYouMean } from '../nearest-name.ts';
import { Problem, type Fault } from '../problem.ts';
import { maxSetNumber } from '../identifier.ts';
import { bucketCount, bucketOf } from './bucket.ts';
import { toUnitVector } from './distance.ts';
import { passingChance } from './load.ts';
import type { SetDefinition, SetHealth } from './set.ts';

const placeSchema = z.strictObject({
  latitude: z.number().min(-90).max(90),
  longitude: z.number().min(-180).max(180),
});

const setSchema = z.strictObject({
  id: z
    .string()
    .regex(/^[a-z][a-z0-9-]{0,62}$/, 'Lower-case letters, digits and dashes, at most 63, a letter first.'),
  number: z.int().min(0).max(maxSetNumber),
  kind: z.enum(['center', 'unit']),
  place: placeSchema,
  weight: z.number().min(0).max(1_000_000),
  status: z.enum(['active', 'draining', 'fenced']),
  shards: z.int().min(1).max(64),
  share: z.number().gt(0).max(1).optional(),
});

const bucketNumber = z
  .int()
  .min(0)
  .max(bucketCount - 1);

/** The document as it travels; catalogs embed it. */
export const routeTableSchema = z.strictObject({
  version: z.int().min(0),
  sets: z
    .array(setSchema)
    .max(maxSetNumber + 1)
    .readonly(),
  /** Buckets `from` to `to`, both included, belong to `set` since `epoch`; higher epochs fence lower ones. */
  buckets: z
    .array(z.strictObject({ from: bucketNumber, to: bucketNumber, set: z.string(), epoch: z.int().min(0) }))
    .max(bucketCount)
    .readonly(),
  /** A key that always goes to one SET, in one topic or, without `topic`, in every topic. */
  pins: z
    .array(z.strictObject({ topic: z.string().optional(), key: z.string().min(1), set: z.string() }))
    .max(100_000)
    .readonly(),
  /** By SET id; SETs that are missing here are `unknown`. */
  health: z.record(z.string(), z.enum(['up', 'down', 'unknown'])).readonly(),
  /** By SET id, 1 is as much as it can take; of SETs that are missing here nobody knows. */
  loads: z.record(z.string(), z.number().min(0)).readonly().optional(),
});

export type RouteTableData = z.infer<typeof routeTableSchema>;
export type BucketRange = RouteTableData['buckets'][number];

/** SETs to choose among, laid out for one pass over flat memory. */
export interface Group {
  /** Positions in the table's `sets`. */
  readonly positions: readonly number[];
  /** Unit vectors, three numbers per member. */
  readonly vectors: Float64Array;
  /** Sum of the weights up to each member, itself included. */
  readonly weightSums: Float64Array;
}

export interface RouteTable {
  readonly version: number;
  /** In the order of their numbers, whatever the order in the document. */
  readonly sets: readonly SetDefinition[];
  /** Position in `sets` by id. */
  readonly positions: ReadonlyMap<string, number>;
  readonly health: readonly SetHealth[];
  readonly loads: readonly (number | undefined)[];
  /** Chance to be passed over, per SET; undefined while that is 0 for all of them. */
  readonly passing: Float64Array | undefined;
  /** The SETs that take new traffic on their own: active, weight above 0. */
  readonly open: Group;
  /** Those of `open` that are centers. */
  readonly openCenters: Group;
  readonly ranges: readonly BucketRange[];
  /** Per bucket the position in `ranges` + 1; 0 for a bucket nobody has. */
  readonly rangeOfBucket: Uint16Array;
  readonly pins: ReadonlyMap<string, string>;
}

/**
 * Checks and compiles a document.
 * @throws Problem `invalid-request` with every fault and its place
 */
export function compileRouteTable(data: unknown): RouteTable {
  const document = parseDocument(data);
  const faults = [
    ...setFaults(document),
    ...bucketFaults(document),
    ...pinFaults(document),
    ...healthFaults(document),
    ...loadFaults(document),
  ];
  if (faults.length > 0) throw refusal(faults);
  const sets = document.sets.toSorted((a, b) => a.number - b.number);
  const open = [...sets.keys()].filter((position) => isOpen(sets[position]));
  const openCenters = open.filter((position) => sets[position]?.kind === 'center');
  const loads = sets.map((set) => document.loads?.[set.id]);
  const passing = Float64Array.from(sets, ({ share }, position) =>
    passingChance({ load: loads[position], share }),
  );
  return {
    version: document.version,
    sets,
    positions: new Map(sets.map((set, position) => [set.id, position])),
    health: sets.map((set) => document.health[set.id] ?? 'unknown'),
    loads,
    passing: passing.some((chance) => chance > 0) ? passing : undefined,
    open: createGroup(sets, open),
    openCenters: createGroup(sets, openCenters),
    ranges: document.buckets,
    rangeOfBucket: indexBuckets(document.buckets),
    pins: new Map(document.pins.map((pin) => [pinName(pin.topic, pin.key), pin.set])),
  };
}

/** The same table with newer health; everything else is shared with the old one. */
export function withHealth(table: RouteTable, health: Readonly<Record<string, SetHealth>>): RouteTable {
  return { ...table, health: table.sets.map((set) => health[set.id] ?? 'unknown') };
}

/** @throws Problem `not-found` naming the nearest id */
export function findSet(table: RouteTable, id: string): SetDefinition {
  const set = table.sets[table.positions.get(id) ?? -1];
  if (set) return set;
  throw new Problem('not-found', `There is no SET "${id}".${didYouMean(id, table.positions.keys())}`);
}

/** Who has the bucket of a key. */
export function findRange(table: RouteTable, key: string): BucketRange | undefined {
  return table.ranges[(table.rangeOfBucket[bucketOf(key)] ?? 0) - 1];
}

/** The SET a key is pinned to; a pin of the topic wins over one of all topics. */
export function findPin(table: RouteTable, topic: string, key: string): string | undefined {
  return table.pins.get(pinName(topic, key)) ?? table.pins.get(pinName(undefined, key));
}

function createGroup(sets: readonly SetDefinition[], positions: readonly number[]): Group {
  const members = positions.flatMap((position) => sets[position] ?? []);
  const vectors = members.map((set) => toUnitVector(set.place));
  let weightSum = 0;
  return {
    positions,
    vectors: Float64Array.from(vectors.flatMap((vector) => [vector.x, vector.y, vector.z])),
    weightSums: Float64Array.from(members, (set) => (weightSum += set.weight)),
  };
}

function isOpen(set: SetDefinition | undefined): boolean {
  return set !== undefined && set.status === 'active' && set.weight > 0;
}

/** NUL cannot be part of a topic's name, so no key of one topic looks like another's. */
export function pinName(topic: string | undefined, key: string): string {
  return `${topic ?? ''}\0${key}`;
}

function indexBuckets(ranges: readonly BucketRange[]): Uint16Array {
  const rangeOfBucket = new Uint16Array(bucketCount);
  ranges.forEach((range, position) => rangeOfBucket.fill(position + 1, range.from, range.to + 1));
  return rangeOfBucket;
}

function parseDocument(data: unknown): RouteTableData {
  const parsed = routeTableSchema.safeParse(data);
  if (parsed.success) return parsed.data;
  throw refusal(
    parsed.error.issues.map((issue) => ({
      at: `/${issue.path.map(String).join('/')}`,
      detail: issue.message,
    })),
  );
}

function setFaults({ sets }: RouteTableData): Fault[] {
  return [
    ...repeated(sets.map((set) => set.id)).map((index) => ({
      at: `/sets/${index}/id`,
      detail: `Another SET is called "${sets[index]?.id}" already.`,
    })),
    ...repeated(sets.map((set) => set.number)).map((index) => ({
      at: `/sets/${index}/number`,
      detail: `Another SET has the number ${sets[index]?.number}. Numbers are never shared or reused: ids carry them.`,
    })),
  ];
}

function bucketFaults(document: RouteTableData): Fault[] {
  const faults: Fault[] = [];
  const ids = idsOf(document);
  const owner = new Int32Array(bucketCount).fill(-1);
  document.buckets.forEach((range, index) => {
    faults.push(...unknownSet(ids, range.set, `/buckets/${index}/set`));
    if (range.from > range.to) {
      faults.push({
        at: `/buckets/${index}`,
        detail: `The range ends (${range.to}) before it begins (${range.from}).`,
      });
      return;
    }
    const taken = owner.subarray(range.from, range.to + 1).find((position) => position !== -1);
    if (taken !== undefined) {
      faults.push({
        at: `/buckets/${index}`,
        detail: `Overlaps /buckets/${taken}. A bucket belongs to one SET.`,
      });
    }
    owner.fill(index, range.from, range.to + 1);
  });
  return faults;
}

function pinFaults(document: RouteTableData): Fault[] {
  const { pins } = document;
  const ids = idsOf(document);
  const twice = repeated(pins.map((pin) => pinName(pin.topic, pin.key))).map((index) => ({
    at: `/pins/${index}`,
    detail: 'This key is pinned before in the same topic.',
  }));
  return [...pins.flatMap((pin, index) => unknownSet(ids, pin.set, `/pins/${index}/set`)), ...twice];
}

function healthFaults(document: RouteTableData): Fault[] {
  const ids = idsOf(document);
  return Object.keys(document.health).flatMap((id) => unknownSet(ids, id, `/health/${id}`));
}

function loadFaults(document: RouteTableData): Fault[] {
  const ids = idsOf(document);
  return Object.keys(document.loads ?? {}).flatMap((id) => unknownSet(ids, id, `/loads/${id}`));
}

function unknownSet(ids: ReadonlySet<string>, id: string, at: string): Fault[] {
  if (ids.has(id)) return [];
  return [{ at, detail: `There is no SET "${id}" in this table.${didYouMean(id, ids)}` }];
}

function idsOf(document: RouteTableData): ReadonlySet<string> {
  return new Set(document.sets.map((set) => set.id));
}

/** Positions of the values that stood before. */
function repeated(values: readonly (string | number)[]): number[] {
  const seen = new Set<string | number>();
  return [...values.keys()].filter((index) => {
    const value = values[index] ?? '';
    const before = seen.has(value);
    seen.add(value);
    return before;
  });
}

function refusal(faults: readonly Fault[]): Problem {
  const [first] = faults;
  const more = faults.length > 1 ? ` (and ${faults.length - 1} more faults)` : '';
  return new Problem(
    'invalid-request',
    `The route table is not usable: ${first?.at}: ${first?.detail}${more}`,
    {
      faults,
    },
  );
}
