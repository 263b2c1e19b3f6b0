/**
 * What consumers say of the deliveries they hold. One query, one function.
 *
 * A delivery that is LEASED names the agenda entry that falls due when its lease ends. Whoever claims that entry moves
 * its due time, so a due time that is still the delivery's says that the lease has no heir yet; the entry is locked
 * before that is believed. The entry of a stream is claimed for other reasons too: there the delivery alone decides.
 */
import { toUuid } from '../identifier.ts';
import type { DeliveryState } from '../message/lifecycle.ts';
import type { AnswerEffect } from '../sets/delivery-answer.ts';
import { answerOf, type Sql } from './database.ts';
import { storableText } from './deliveries.ts';
import type { AnswerToRecord } from './delivery-outcome.ts';
import { owedToAnswers } from './end-callbacks.ts';
import { instantOrNull, type Row } from './rows.ts';
import { holdTenure } from './tenure.ts';

interface Recorder {
  readonly set: string;
  readonly host: string;
}

export async function recordAnswers(
  sql: Sql,
  answers: readonly AnswerToRecord[],
  by: Recorder,
): Promise<readonly AnswerEffect[]> {
  const numbered = answers.map((answer, n) => ({ n, answer }));
  const done = numbered.filter(({ answer }) => answer.state === 'DONE');
  const others = numbered.filter(({ answer }) => answer.state !== 'DONE');
  const rows = await Promise.all([
    done.length > 0 ? finishHeld(sql, rowsOf(done), by) : [],
    others.length > 0 ? changeHeld(sql, rowsOf(others), by) : [],
  ]);
  const effects = new Map(rows.flat().map((row) => [Number(row['n']), row]));
  return answers.map((answer, n) => effectOf(answer, effects.get(n) ?? {}));
}

function rowsOf(numbered: readonly { readonly n: number; readonly answer: AnswerToRecord }[]): string {
  return JSON.stringify(
    numbered.map(({ n, answer }) => ({
      n,
      message_id: toUuid(answer.messageId),
      subscription: answer.subscription,
      attempt: answer.attempt,
      state: answer.state,
      error: answer.error === null ? null : storableText(answer.error),
      after_secs: answer.afterMs / 1000,
      callback_url: answer.callback?.[answer.state === 'DONE' ? 'success' : 'failure'],
    })),
  );
}

/** Done is true whoever says it, and whenever: it ends every state but DONE itself and SKIPPED, and begins one. */
async function finishHeld(sql: Sql, said: string, by: Recorder): Promise<readonly Row[]> {
  return answerOf(sql`
    WITH said AS MATERIALIZED (
      SELECT s.*, d.state AS before, d.entry, d.updated_at
      FROM json_to_recordset(${said}::json) AS s(n integer, message_id uuid, subscription text, attempt integer,
        error text, callback_url text)
      LEFT JOIN LATERAL (SELECT state, entry, updated_at FROM delivery
        WHERE message_id = s.message_id AND subscription = s.subscription LIMIT 1) d ON true
      WHERE ${holdTenure(sql, by.set, 'go on')}
    ), held AS MATERIALIZED (
      SELECT a.id FROM said s JOIN agenda a ON a.id = s.entry WHERE s.before = 'LEASED' ORDER BY a.id FOR UPDATE OF a
    ), told AS (
      INSERT INTO delivery AS d (message_id, subscription, state, attempts)
      SELECT DISTINCT ON (message_id, subscription) message_id, subscription, 'DONE', attempt
      FROM said WHERE (SELECT count(*) FROM held) >= 0
      ORDER BY message_id, subscription, attempt DESC
      ON CONFLICT (message_id, subscription) DO UPDATE
        SET state = 'DONE', attempts = greatest(d.attempts, excluded.attempts), next_attempt_at = NULL, updated_at = now()
        WHERE d.state IN ('RETRY', 'BLOCKED', 'LEASED', 'DEAD')
      RETURNING message_id, subscription, state, attempts, entry
    ), logged AS (
      INSERT INTO attempt (message_id, subscription, attempt, host, status, outcome, duration_ms, error)
      SELECT t.message_id, t.subscription, s.attempt, ${by.host}, NULL, 'DONE',
        coalesce(extract(epoch FROM now() - s.updated_at) * 1000, 0), NULL
      FROM told t JOIN said s USING (message_id, subscription)
    ), ${owedToAnswers(sql, by.set)}, ended AS (
      DELETE FROM agenda a USING told t, held h WHERE a.id = h.id AND h.id = t.entry AND a.stream IS NULL
    ), woken AS (
      UPDATE agenda a SET due_at = now(), signals = signals + 1
      FROM told t, held h WHERE a.id = h.id AND h.id = t.entry AND a.stream IS NOT NULL
      RETURNING a.id
    )
    SELECT s.n, t.message_id IS NOT NULL AS told, s.before, w.id IS NOT NULL AS is_ordered, o.id IS NOT NULL AS is_owed
    FROM said s LEFT JOIN told t USING (message_id, subscription) LEFT JOIN woken w ON w.id = t.entry
    LEFT JOIN owed o USING (message_id, subscription)`);
}

/** Failed, or prolonged: only by the holder of a lease that has no heir yet. */
async function changeHeld(sql: Sql, said: string, by: Recorder): Promise<readonly Row[]> {
  return answerOf(sql`
    WITH said AS MATERIALIZED (
      SELECT s.*, d.state AS before, d.attempts, d.entry, d.next_attempt_at, d.updated_at
      FROM json_to_recordset(${said}::json) AS s(n integer, message_id uuid, subscription text, attempt integer, state text,
        error text, after_secs double precision, callback_url text)
      LEFT JOIN LATERAL (SELECT state, attempts, entry, next_attempt_at, updated_at FROM delivery
        WHERE message_id = s.message_id AND subscription = s.subscription LIMIT 1) d ON true
      WHERE ${holdTenure(sql, by.set, 'go on')}
    ), held AS MATERIALIZED (
      SELECT s.n, a.id, a.stream FROM said s JOIN agenda a ON a.id = s.entry
      WHERE s.before = 'LEASED' AND s.attempts = s.attempt
        AND CASE WHEN a.stream IS NULL THEN a.due_at = s.next_attempt_at ELSE s.next_attempt_at > now() END
      ORDER BY a.id FOR UPDATE OF a
    ), told AS (
      UPDATE delivery d SET state = s.state, updated_at = now(),
        next_attempt_at = CASE WHEN s.state IN ('RETRY', 'LEASED') THEN now() + make_interval(secs => s.after_secs) END
      FROM said s JOIN held h ON h.n = s.n
      WHERE d.message_id = s.message_id AND d.subscription = s.subscription AND d.state = 'LEASED'
        AND d.attempts = s.attempt AND d.next_attempt_at = s.next_attempt_at
      RETURNING s.n, s.state, s.error, d.message_id, d.subscription, d.attempts, d.next_attempt_at, s.updated_at AS since, h.id, h.stream
    ), logged AS (
      INSERT INTO attempt (message_id, subscription, attempt, host, status, outcome, duration_ms, error)
      SELECT message_id, subscription, attempts, ${by.host}, NULL, state, extract(epoch FROM now() - since) * 1000, error
      FROM told WHERE state <> 'LEASED'
    ), ${owedToAnswers(sql, by.set)}, moved AS (
      UPDATE agenda a SET due_at = coalesce(t.next_attempt_at, now()), signals = signals + 1
      FROM told t WHERE a.id = t.id AND (t.next_attempt_at IS NOT NULL OR t.stream IS NOT NULL)
    ), ended AS (
      DELETE FROM agenda a USING told t WHERE a.id = t.id AND t.next_attempt_at IS NULL AND t.stream IS NULL
    )
    SELECT s.n, t.n IS NOT NULL AS told, s.before, s.attempts, t.next_attempt_at, t.stream IS NOT NULL AS is_ordered, o.id IS NOT NULL AS is_owed
    FROM said s LEFT JOIN told t USING (n) LEFT JOIN owed o ON o.message_id = t.message_id AND o.subscription = t.subscription`);
}

function effectOf({ state, attempt }: AnswerToRecord, row: Row): AnswerEffect {
  const before = (row['before'] ?? undefined) as DeliveryState | undefined;
  const known = before === undefined ? {} : { state: before };
  if (row['told'] === true) {
    const nextAttemptAt = instantOrNull(row['next_attempt_at']);
    const wakes = row['is_ordered'] === true ? 'order' : 'redeliver';
    const owes = row['is_owed'] === true ? ({ owes: 'callback' } as const) : {};
    return { outcome: 'made', state, wakes, ...owes, ...(nextAttemptAt === null ? {} : { nextAttemptAt }) };
  }
  // What was there before the statement may have changed while it waited: done is all that can have come in between.
  if (state === 'DONE')
    return before === 'SKIPPED' ? { outcome: 'too-late', ...known } : { outcome: 'was-so', state };
  if (before === undefined || Number(row['attempts']) < attempt) {
    const isOver = before === 'DONE' || before === 'DEAD' || before === 'SKIPPED';
    return { outcome: isOver ? 'too-late' : 'too-early', ...known };
  }
  const hasFailed = before === 'RETRY' || before === 'DEAD';
  const isSaid = state !== 'LEASED' && hasFailed && Number(row['attempts']) === attempt;
  return { outcome: isSaid ? 'was-so' : 'too-late', ...known };
}
