/** The dead letters of one database. */
import { fromUuid, toUuid } from '../identifier.ts';
import type { DeadLetter, DeadLetterFilter, DeadLetterSearch } from '../sets/dead-letters.ts';
import { answerOf, type Sql } from './database.ts';
import { instant, numberOrNull, text, textOrNull, type Row } from './rows.ts';

type Fragment = ReturnType<Sql>;

/** One walk per subscription along the index of open deliveries, merged. */
export async function listDeadLetters(sql: Sql, search: DeadLetterSearch): Promise<readonly DeadLetter[]> {
  const { after, filter, limit, of } = search;
  const subscriptions = filter.subscription === undefined ? of.subscriptions : [filter.subscription];
  const rows = await answerOf(sql`
    SELECT found.*, (extract(epoch FROM died_at) * 1000000)::bigint AS at_micros, last.status, last.error
    FROM (
      SELECT each.* FROM unnest(${subscriptions}::text[]) AS s(name) CROSS JOIN LATERAL (
        SELECT m.id, m.topic, m.tag, m.key, m.set_id, d.subscription, d.attempts, d.updated_at AS died_at
        FROM delivery d JOIN message m ON m.id = d.message_id
        WHERE d.subscription = s.name AND d.state = 'DEAD' AND ${deadConditions(sql, of.owner, filter)}
          AND (${after?.atMicros ?? null}::bigint IS NULL OR (d.updated_at, d.message_id, d.subscription)
            < (timestamptz 'epoch' + ${after?.atMicros ?? 0}::bigint * interval '1 microsecond',
              ${after ? toUuid(after.id) : null}::uuid, ${after?.subscription ?? null}::text))
        ORDER BY d.updated_at DESC, d.message_id DESC LIMIT ${limit}) AS each
      ORDER BY died_at DESC, id DESC, subscription DESC LIMIT ${limit}
    ) AS found
    LEFT JOIN LATERAL (
      SELECT status, error FROM attempt WHERE message_id = found.id AND subscription = found.subscription
      ORDER BY at DESC LIMIT 1) AS last ON true
    ORDER BY died_at DESC, id DESC, found.subscription DESC`);
  return rows.map(deadLetterOf);
}

/** On `d` (delivery) and `m` (message). */
export function deadConditions(sql: Sql, owner: string, filter: DeadLetterFilter): Fragment {
  const { error, fromMs, toMs, topic } = filter;
  const pattern = error === undefined ? null : `%${error.replaceAll(/[\\%_]/g, String.raw`\$&`)}%`;
  return sql`m.owner = ${owner} AND (${topic ?? null}::text IS NULL OR m.topic = ${topic ?? null})
    AND d.updated_at >= ${timeOf(fromMs) ?? '-infinity'}::timestamptz AND d.updated_at < ${timeOf(toMs) ?? 'infinity'}::timestamptz
    AND (${pattern}::text IS NULL OR EXISTS (SELECT FROM attempt a WHERE a.message_id = d.message_id
      AND a.subscription = d.subscription AND a.error ILIKE ${pattern}))`;
}

export function timeOf(unixMs: number | undefined): string | undefined {
  return unixMs === undefined ? undefined : new Date(unixMs).toISOString();
}

function deadLetterOf(row: Row): DeadLetter {
  const id = fromUuid(text(row['id']));
  const subscription = text(row['subscription']);
  return {
    id,
    topic: text(row['topic']),
    tag: textOrNull(row['tag']),
    key: textOrNull(row['key']),
    subscription,
    set: text(row['set_id']),
    attempts: Number(row['attempts']),
    diedAt: instant(row['died_at']),
    status: numberOrNull(row['status']),
    error: textOrNull(row['error']),
    position: { atMicros: text(row['at_micros']), id, subscription },
  };
}
