/** Keys at work: see shared/delivery/key-leases.ts. One query, one function. */
import { answerOf, type Sql } from './database.ts';
import type { HeldKey, KeyHold } from './store.ts';

/** Rows go in by their keys, so that statements which want the same ones wait for each other and do not deadlock. */
export async function holdKeys(
  sql: Sql,
  wanted: readonly KeyHold[],
  host: string,
): Promise<readonly boolean[]> {
  const given = wanted.map(({ subscription, key, forMs }) => ({ subscription, key, secs: forMs / 1000 }));
  const rows = await answerOf(sql`
    INSERT INTO key_lease AS l (subscription, key, host, until)
    SELECT subscription, key, ${host}, now() + make_interval(secs => max(secs))
    FROM json_to_recordset(${JSON.stringify(given)}::json) AS w(subscription text, key text, secs double precision)
    GROUP BY subscription, key ORDER BY subscription, key
    ON CONFLICT (subscription, key) DO UPDATE SET host = excluded.host, until = excluded.until
      WHERE l.until < now() OR l.host = excluded.host
    RETURNING subscription, key`);
  const held = new Set(rows.map((row) => JSON.stringify([row['subscription'], row['key']])));
  return wanted.map(({ subscription, key }) => held.has(JSON.stringify([subscription, key])));
}

export async function releaseKeys(sql: Sql, held: readonly HeldKey[], host: string): Promise<void> {
  await answerOf(sql`
    DELETE FROM key_lease l
    USING json_to_recordset(${JSON.stringify(held)}::json) AS h(subscription text, key text)
    WHERE l.subscription = h.subscription AND l.key = h.key AND l.host = ${host}`);
}
