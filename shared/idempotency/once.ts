/**
 * One effect, by a unique row in the handler's own transaction.
 *
 * The row (subscription, message id) and the effect are committed together or not at all, so a crash at any point either
 * left nothing, and the next delivery runs, or left both, and the next delivery meets the row. No lease, no clock. It
 * holds for effects in this one database; a mail or a call to elsewhere needs the guard and an idempotent receiver.
 *
 * The INSERT has no ON CONFLICT: a copy must abort the whole transaction, effects included, and not merely skip one
 * statement. A concurrent copy waits at the INSERT until the first commits (then it is a duplicate) or rolls back
 * (then it runs).
 *
 * Closed here and not by the Redis guard: a crash after the effect and before the done marker; a holder that acts after
 * its lease. A COMMIT whose answer is lost rejects; the retry then finds out.
 *
 * Rows are kept as long as copies may come; delete older ones now and then:
 * `DELETE FROM setway_processed_message WHERE processed_at < now() - interval '30 days'`.
 */
import { Problem } from '../problem.ts';
import type { SqlRunner, SqlStatement, SqlTransaction } from './sql.ts';

/** The name of the rule that says "once"; a violation of any other constraint is the handler's own fault. */
const constraint = 'setway_processed_message_once';

export const processedMessageTable = `
CREATE TABLE IF NOT EXISTS setway_processed_message (
  subscription text NOT NULL,
  message_id text NOT NULL,
  fingerprint text NOT NULL,
  processed_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT ${constraint} PRIMARY KEY (subscription, message_id)
);
CREATE INDEX IF NOT EXISTS setway_processed_message_age ON setway_processed_message (processed_at);
`;

/** Which message is handled, and by whom. A `WebhookMessage` is one. */
export interface MessageMark {
  readonly subscription: string;
  readonly id: string;
  /** Hash of the body: the same id with another body is a `mismatch`. */
  readonly fingerprint: string;
}

/** `mismatch`: the id was processed with another body; nothing was done now. */
export type OnceOutcome = 'done' | 'duplicate' | 'mismatch';

/**
 * Runs `effect` and the unique row in one transaction, for clients that hold a connection (pg, postgres.js).
 *
 * @param sql statements on ONE connection outside any transaction, never a pool: BEGIN and COMMIT go through it
 * @param effect its statements must go through the same connection; a rejection rolls everything back
 * @throws whatever `effect` or the database throws
 * @example
 * const client = await pool.connect();
 * await once((text, params) => client.query(text, [...params]), message, (sql) =>
 *   sql('UPDATE stock SET quantity = quantity - $1 WHERE sku = $2', [2, 'tea']));
 */
export async function once(
  sql: SqlRunner,
  mark: MessageMark,
  effect: (sql: SqlRunner) => Promise<unknown>,
): Promise<OnceOutcome> {
  await sql('BEGIN', []);
  try {
    const { text, params } = markStatement(mark);
    await sql(text, params);
    await effect(sql);
    await assertStillThere(sql, mark);
    await sql('COMMIT', []);
    return 'done';
  } catch (error) {
    await rollback(sql, error);
    return explain(sql, mark, error);
  }
}

/**
 * The same for clients that send a whole transaction at once, such as the Neon driver over HTTP: one round trip when
 * the message is new.
 *
 * @throws whatever the database throws for `effects`
 * @example
 * await onceTogether({ transact, sql }, message, [
 *   { text: 'UPDATE stock SET quantity = quantity - $1 WHERE sku = $2', params: [2, 'tea'] },
 * ]);
 */
export async function onceTogether(
  { transact, sql }: { readonly transact: SqlTransaction; readonly sql: SqlRunner },
  mark: MessageMark,
  effects: readonly SqlStatement[],
): Promise<OnceOutcome> {
  try {
    await transact([markStatement(mark), ...effects]);
    return 'done';
  } catch (error) {
    return explain(sql, mark, error);
  }
}

function markStatement({ subscription, id, fingerprint }: MessageMark): SqlStatement {
  const text =
    'INSERT INTO setway_processed_message (subscription, message_id, fingerprint) VALUES ($1, $2, $3)';
  return { text, params: [subscription, id, fingerprint] };
}

async function keptFingerprint(sql: SqlRunner, { subscription, id }: MessageMark): Promise<unknown> {
  const text = 'SELECT fingerprint FROM setway_processed_message WHERE subscription = $1 AND message_id = $2';
  const { rows } = await sql(text, [subscription, id]);
  return rows[0]?.['fingerprint'];
}

/** What a failed transaction means: the row was there before, or a fault that is not ours. */
async function explain(sql: SqlRunner, mark: MessageMark, error: unknown): Promise<OnceOutcome> {
  if (!isOurViolation(error)) throw error;
  const kept = await keptFingerprint(sql, mark);
  if (kept === undefined) throw error;
  return kept === mark.fingerprint ? 'duplicate' : 'mismatch';
}

/**
 * COMMIT of a failed transaction rolls back without an error. An effect that swallowed a failed statement, or rolled
 * back by itself, must not be reported as done.
 */
async function assertStillThere(sql: SqlRunner, mark: MessageMark): Promise<void> {
  if ((await keptFingerprint(sql, mark)) === undefined) {
    throw new Problem(
      'internal',
      'The effect ended the transaction that `once` began; leave that to `once`.',
    );
  }
}

async function rollback(sql: SqlRunner, cause: unknown): Promise<void> {
  try {
    await sql('ROLLBACK', []);
  } catch (error) {
    // The connection is gone, so Postgres rolls back by itself; but its first fault is what matters.
    throw new Problem('database-unavailable', 'The connection broke inside the transaction.', {
      cause: cause ?? error,
    });
  }
}

/** Clients and query builders wrap Postgres' error; deeper than this nobody does. */
const maxWraps = 4;

/** SQLSTATE 23505 unique_violation on our constraint (PostgreSQL, Appendix A). */
function isOurViolation(error: unknown): boolean {
  let fault: unknown = error;
  for (let depth = 0; depth <= maxWraps && typeof fault === 'object' && fault !== null; depth++) {
    const { code, constraint: violated, cause } = fault as Record<string, unknown>;
    if (code === '23505' && violated === constraint) return true;
    fault = cause;
  }
  return false;
}
