/**
 * The tenure of a SET in one of its databases: who has taken it away from its hosts can be sure that nothing they had in
 * hand gets into the books any more.
 *
 *   every commit, claim, turn and settle ─▶ holds the tenure until it is committed (many beside each other), or is refused
 *   change (epoch → epoch + 1)           ─▶ waits for those in flight, then all later ones see it
 *
 * Refusals are Problems `set-fenced`: an edge asks the next SET under the same ids, a host stops. What if the process that
 * changes a tenure dies: before the commit nothing has changed; after it, everybody sees the change, and the same change
 * again is answered as made. Clocks decide nothing.
 */
import { Problem } from '../problem.ts';
import type { Tenure, TenureState } from '../sets/tenure.ts';
import { answerOf, type Sql } from './database.ts';
import type { Row } from './rows.ts';

/** What a statement does for its SET: takes something new from an edge, or goes on with what is there. */
export type TenuredWork = 'take' | 'go on';

/**
 * To be a part of a statement that changes something for a SET: true, or the statement is refused and undone. Evaluated
 * once, wherever it stands, if it stands where a row makes it be asked. Without a SET nobody is asked: that is for who
 * works on the books of a SET that is fenced.
 */
export function holdTenure(sql: Sql, set: string | undefined, work: TenuredWork): ReturnType<Sql> {
  if (set === undefined) return sql`true`;
  return sql`(SELECT hold_tenure(${set}, ${work}))`;
}

export async function readTenure(sql: Sql, set: string): Promise<Tenure> {
  return tenureOf(await answerOf(sql`SELECT epoch, state FROM tenure WHERE set_id = ${set}`));
}

export interface TenureChange {
  readonly set: string;
  /** The epoch the change was decided on. */
  readonly from: number;
  readonly state: TenureState;
}

/**
 * Changes the tenure at `from` to the wanted state at `from + 1`, after all that hold it now have ended. Safe to repeat.
 * @returns the tenure as it is now
 * @throws Problem `conflict` when it stands at another epoch; `database-unavailable`: it may have happened all the same
 * @example await changeTenure(sql, { set: 'hangzhou', from: (await readTenure(sql, 'hangzhou')).epoch, state: 'fenced' })
 */
export async function changeTenure(sql: Sql, { set, from, state }: TenureChange): Promise<Tenure> {
  const [, , rows = []] = await answerOf(
    sql.transaction([
      sql`SELECT pg_advisory_xact_lock(778147, hashtext(${set}))`,
      sql`
        INSERT INTO tenure AS t (set_id, epoch, state)
        SELECT ${set}, ${from + 1}, ${state} WHERE ${from} = 0 OR EXISTS (SELECT FROM tenure WHERE set_id = ${set})
        ON CONFLICT (set_id) DO UPDATE SET epoch = excluded.epoch, state = excluded.state, changed_at = now()
        WHERE t.epoch = ${from}`,
      sql`SELECT epoch, state FROM tenure WHERE set_id = ${set}`,
    ]),
  );
  const now = tenureOf(rows);
  if (now.epoch === from + 1 && now.state === state) return now;
  throw new Problem('conflict', `SET "${set}" is ${now.state} at epoch ${now.epoch}, not at ${from}.`);
}

/**
 * Brings all databases of a SET to a state, each from the epoch it stands at; those that have it keep it.
 * @returns the highest epoch
 * @throws Problem `database-unavailable`, `conflict`: the others may have changed; repeat it
 */
export async function setTenure(sqls: readonly Sql[], set: string, state: TenureState): Promise<Tenure> {
  const tenures = await Promise.all(
    sqls.map(async (sql) => {
      const known = await readTenure(sql, set);
      return known.state === state ? known : changeTenure(sql, { set, from: known.epoch, state });
    }),
  );
  return { state, epoch: Math.max(0, ...tenures.map(({ epoch }) => epoch)) };
}

/** Without a row, or with an empty one, it serves at epoch 0. */
export function tenureOf([row]: readonly Row[]): Tenure {
  if (typeof row?.['state'] !== 'string') return { epoch: 0, state: 'serving' };
  return { epoch: Number(row['epoch']), state: row['state'] as TenureState };
}
