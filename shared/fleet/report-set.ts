/** How a SET is: what an operator looks at. Whatever does not answer is told, and the rest is told all the same. */
import type { SetEntry } from '../catalog/document.ts';
import { asProblem, type Problem } from '../problem.ts';
import { loginOf } from './broker-url.ts';
import { describeChange } from './drift.ts';
import { findSet, managementOf, type FleetParts, type FoundSet } from './fleet.ts';
import { loadOf } from '../sets/load.ts';
import { lookLeft } from './look-left.ts';
import { planSet } from './plan-set.ts';

export interface SetReport {
  readonly id: string;
  readonly number: number;
  readonly kind: SetEntry['kind'];
  readonly status: SetEntry['status'];
  readonly weight: number;
  /** Messages per second; absent: nobody said. */
  readonly capacity?: number;
  /** Messages per second it takes; absent: nobody knows. */
  readonly rate?: number;
  /** Rate by capacity, as edges balance by it. */
  readonly load?: number;
  /** Part of the traffic it is let in to; absent: all. */
  readonly share?: number;
  /** RabbitMQ's version; absent when it is looked after by hand or does not answer. */
  readonly version?: string;
  /** What does not work now, in words. */
  readonly ailments: readonly string[];
  /** What `apply` would change. */
  readonly drift: readonly string[];
  /** What it still holds. */
  readonly left: readonly string[];
  /** Federation links into it, such as `setway.topic.orders from hangzhou: running`. */
  readonly links: readonly string[];
}

/** @throws Problem `not-found`; nothing for what does not answer */
export async function reportSet(parts: FleetParts, id: string): Promise<SetReport> {
  const found = await findSet(parts, id);
  const { number, kind, status, weight, managementUrl } = found.entry;
  const rate = (await parts.rates()).get(id);
  const known = { id, number, kind, status, weight, ...burdenOf(found.entry, rate) };
  const nothing = { ailments: [], drift: [], left: [], links: [] };
  if (managementUrl === undefined)
    return {
      ...known,
      ...nothing,
      ailments: ['Its RabbitMQ is looked after by hand: it has no management URL.'],
    };
  const faults: Problem[] = [];
  const or = async <T>(work: Promise<T>, otherwise: T): Promise<T> => {
    try {
      return await work;
    } catch (error) {
      faults.push(asProblem(error));
      return otherwise;
    }
  };
  const seen = await lookAt(parts, found, or);
  const ailments = [...seen.ailments, ...new Set(faults.map(({ message }) => message))];
  return { ...known, ...seen, ailments };
}

function burdenOf({ capacity, share }: SetEntry, rate: number | undefined) {
  const load = loadOf(rate, capacity);
  return {
    ...(capacity === undefined ? {} : { capacity }),
    ...(rate === undefined ? {} : { rate }),
    ...(load === undefined ? {} : { load }),
    ...(share === undefined ? {} : { share }),
  };
}

async function lookAt(
  parts: FleetParts,
  found: FoundSet,
  or: <T>(work: Promise<T>, otherwise: T) => Promise<T>,
): Promise<Pick<SetReport, 'version' | 'ailments' | 'drift' | 'left' | 'links'>> {
  const management = managementOf(parts, found.entry);
  const { vhost } = loginOf(found.entry.brokerUrls[0] ?? '');
  const [overview, ailments, changes, left, links] = await Promise.all([
    or(management.overview(), undefined),
    or(management.ailments(), []),
    or(
      planSet(parts, found, 'quick').then((plan) => plan.changes),
      [],
    ),
    or(
      lookLeft(parts, management, found).then(({ lines }) => lines),
      [],
    ),
    or(management.links.federation(vhost), []),
  ]);
  return {
    ailments,
    left,
    drift: changes.map(describeChange),
    links: links.map(({ name, upstream, status, error }) =>
      [`${name} from ${upstream}: ${status}`, ...(error === undefined ? [] : [error])].join(', '),
    ),
    ...(overview === undefined ? {} : { version: overview.version }),
  };
}
