/** Held copies in Postgres. One query, one function. */
import { Buffer } from 'node:buffer';
import { toUuid, type MessageId } from '../identifier.ts';
import type { Message } from '../message/message.ts';
import type { CopyStore, FoundCopy, HeldCopy } from './copy-store.ts';
import { answerOf, type Sql } from './database.ts';
import { text, type Row } from './rows.ts';

export function openCopyStore(sql: Sql): CopyStore {
  return {
    hold: (copies) => hold(sql, copies),
    findHeld: (origin, after, limit) => findHeld(sql, origin, { after, limit }),
    forgetHeld: (ids) => forgetHeld(sql, ids),
    dropOldHeld: (limit) => dropOldHeld(sql, limit),
    countHeld: () => countHeld(sql),
  };
}

/** Places are given in the order of the copies, rows go in by their ids: two hosts that hold the same ones do not deadlock. */
async function hold(sql: Sql, copies: readonly HeldCopy[]): Promise<void> {
  await answerOf(sql`
    WITH given AS MATERIALIZED (
      SELECT nextval('held_copy_place') AS place, c.*
      FROM json_to_recordset(${JSON.stringify(copies.map(rowOf))}::json)
        AS c(id uuid, origin text, keep_for double precision, content json, body text))
    INSERT INTO held_copy (id, origin, place, keep_until, content, body)
    SELECT id, origin, place, now() + make_interval(secs => keep_for / 1000), content, decode(body, 'base64') FROM given
    WHERE NOT EXISTS (SELECT FROM message m WHERE m.id = given.id)
    ORDER BY id
    ON CONFLICT (id) DO NOTHING`);
}

function rowOf({ keepForMs, message: { body, ...content } }: HeldCopy): Row {
  return {
    id: toUuid(content.id),
    origin: content.placement.set,
    keep_for: keepForMs,
    content,
    body: Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('base64'),
  };
}

async function findHeld(
  sql: Sql,
  origin: string,
  { after, limit }: { readonly after: string | null; readonly limit: number },
): Promise<readonly FoundCopy[]> {
  const rows = await answerOf(sql`
    SELECT place, content, encode(body, 'base64') AS body FROM held_copy
    WHERE origin = ${origin} AND place > ${after ?? '0'}::bigint ORDER BY place LIMIT ${limit}`);
  return rows.map((row) => ({
    place: text(row['place']),
    message: {
      ...(row['content'] as Omit<Message, 'body'>),
      body: Buffer.from(text(row['body']), 'base64'),
    },
  }));
}

async function forgetHeld(sql: Sql, ids: readonly MessageId[]): Promise<void> {
  await answerOf(sql`DELETE FROM held_copy WHERE id = ANY(${ids.map(toUuid)}::uuid[])`);
}

async function dropOldHeld(sql: Sql, limit: number): Promise<number> {
  const [row] = await answerOf(sql`
    WITH old AS (
      SELECT id FROM held_copy WHERE keep_until < now() ORDER BY keep_until LIMIT ${limit} FOR UPDATE SKIP LOCKED
    ), dropped AS (DELETE FROM held_copy WHERE id IN (SELECT id FROM old) RETURNING id)
    SELECT count(*) AS dropped FROM dropped`);
  return Number(row?.['dropped']);
}

async function countHeld(sql: Sql): Promise<ReadonlyMap<string, number>> {
  const rows = await answerOf(
    sql`SELECT origin, count(*) AS held FROM held_copy GROUP BY origin ORDER BY origin LIMIT 5000`,
  );
  return new Map(rows.map((row) => [text(row['origin']), Number(row['held'])]));
}
