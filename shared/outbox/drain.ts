/**
 * Drains an outbox: claim rows, publish each under its own id, settle them all.
 *
 * Rows of one key go one after the other, and after a failure the rest of the key waits too; different keys go side by
 * side. What if the process dies: before the publish, the lease ends and another takes the row; between publish and
 * settle, the same, and the row's id is the idempotency key, so it is the same message.
 */
import type { SqlRunner } from '../idempotency/sql.ts';
import { claimRows, settleRows, type OutboxRow, type RowOutcomes } from './outbox-table.ts';

/** `later`: nothing speaks against it but the moment. */
export type RowOutcome = 'taken' | 'later' | { readonly refused: string };

export interface DrainParts {
  readonly sql: SqlRunner;
  readonly table: string | undefined;
  /** Publishes one row; a rejection counts as `later`. */
  readonly publish: (row: OutboxRow) => Promise<RowOutcome>;
}

export interface Drained {
  readonly taken: number;
  /** Refused by a rule, and left there with the reason. */
  readonly refused: number;
  /** Put off. */
  readonly later: number;
}

/** Rows of one claim. */
const claimSize = 100;
/** Publishes under way at once. */
const concurrency = 8;

/** @param maxRows ends after about so many */
export async function drain(parts: DrainParts, maxRows: number): Promise<Drained> {
  const total = { taken: 0, refused: 0, later: 0 };
  let claimed = 0;
  while (claimed < maxRows) {
    const lease = crypto.randomUUID();
    const rows = await claimRows(parts.sql, {
      table: parts.table,
      lease,
      limit: Math.min(claimSize, maxRows - claimed),
    });
    if (rows.length === 0) break;
    claimed += rows.length;
    const outcomes = await publishRows(parts, rows, lease);
    await settleRows(parts.sql, parts.table, outcomes);
    total.taken += outcomes.taken.length;
    total.refused += outcomes.refused.length;
    total.later += outcomes.later.length;
  }
  return total;
}

async function publishRows(
  parts: DrainParts,
  rows: readonly OutboxRow[],
  lease: string,
): Promise<RowOutcomes> {
  const outcomes = new Map<string, RowOutcome>();
  const groups = [...Map.groupBy(rows, ({ id, key }) => key ?? id).values()];
  const work = async (): Promise<void> => {
    for (let group = groups.shift(); group; group = groups.shift())
      await publishInTurn(parts, group, outcomes);
  };
  await Promise.all(Array.from({ length: concurrency }, work));
  const idsOf = (wanted: RowOutcome): readonly string[] =>
    rows.filter(({ id }) => outcomes.get(id) === wanted).map(({ id }) => id);
  const refused = rows.flatMap(({ id }) => {
    const outcome = outcomes.get(id);
    return typeof outcome === 'object' ? [{ id, reason: outcome.refused }] : [];
  });
  return { lease, taken: idsOf('taken'), refused, later: idsOf('later') };
}

async function publishInTurn(
  { publish }: DrainParts,
  group: readonly OutboxRow[],
  outcomes: Map<string, RowOutcome>,
): Promise<void> {
  let isPutOff = false;
  for (const row of group) {
    // Losing the reason is safe: the row is still there, and tried again.
    const outcome: RowOutcome = isPutOff ? 'later' : await publish(row).catch((): RowOutcome => 'later');
    isPutOff = outcome === 'later';
    outcomes.set(row.id, outcome);
  }
}
