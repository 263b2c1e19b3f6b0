/**
 * The producer's side of a transaction, for producers that keep their business in Postgres: the decision is a row of the
 * business transaction itself, and a check is answered from that row.
 *
 *   prepare (HTTP) ─▶ BEGIN; business; barrier: INSERT 'committed'; COMMIT ─▶ commit (HTTP)
 *                                  ▲ one row per transaction: who inserts first decides
 *   check-back ────▶ INSERT 'rolled_back' unless 'committed' is there ─▶ answers what is there
 *
 * - The business commits late, after a check was told `rolled_back`: its INSERT meets that row and the whole business
 *   transaction is aborted by a violated constraint, even if somebody swallows the error.
 * - The check comes while the business transaction is open: its INSERT waits at the unique index; when that takes longer
 *   than the lock timeout, it answers `unknown` and is asked again.
 * - The producer dies before its COMMIT: nothing is there, the check says `rolled_back`. After it: `committed`.
 * - The business transaction runs a second time for the same transaction: aborted too, so its effect is one.
 *
 * Rows are kept as long as checks and late commits may come: delete those older than a few days.
 */
import { Buffer } from 'node:buffer';
import { systemClock, type Clock } from '../clock.ts';
import { readBody } from '../consumer/request-body.ts';
import { answerRefusal } from '../consumer/webhook-answer.ts';
import type { SqlRunner, SqlStatement } from '../idempotency/sql.ts';
import { parseTransactionId } from '../identifier.ts';
import { readStrictJson } from '../message/strict-json.ts';
import { asProblem, Problem } from '../problem.ts';
import type { CheckState } from '../webhook/check-answer.ts';
import { isWebhookSecret, verifyWebhook } from '../webhook/signature.ts';

/** What was decided before. */
export type Told = 'committed' | 'rolled_back';

/** The rules that a second decision breaks, by what was decided first. */
const rules = {
  setway_transaction_committed: 'committed',
  setway_transaction_rolled_back: 'rolled_back',
} as const satisfies Record<string, Told>;

export const transactionTable = `
CREATE TABLE IF NOT EXISTS setway_transaction (
  id text PRIMARY KEY,
  decision text NOT NULL,
  decided_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT setway_transaction_committed CHECK (decision <> 'decided before: committed'),
  CONSTRAINT setway_transaction_rolled_back CHECK (decision <> 'decided before: rolled_back')
);
CREATE INDEX IF NOT EXISTS setway_transaction_age ON setway_transaction (decided_at);
`;

/**
 * The statement to put into the business transaction, for clients that send a whole transaction at once.
 * @example await neonSql.transaction([neonSql`UPDATE …`, neonSql.query(text, [...params])]);
 */
export function commitStatement(id: string): SqlStatement {
  const text = `
    INSERT INTO setway_transaction AS known (id, decision) VALUES ($1, 'committed')
    ON CONFLICT (id) DO UPDATE SET decision = 'decided before: ' || known.decision`;
  return { text, params: [id] };
}

export interface Barrier {
  /**
   * Records that the business is done.
   * @param id of the prepared transaction
   * @throws Problem `conflict` when it was decided before: then the business transaction is aborted
   */
  commit(id: string): Promise<void>;
}

/**
 * @param sql runs statements inside the business transaction
 * @example
 * await client.query('BEGIN');
 * await client.query('UPDATE account SET balance = balance - 100 WHERE id = 7');
 * await barrier((text, params) => client.query(text, [...params])).commit(prepared.id);
 * await client.query('COMMIT');
 */
export function barrier(sql: SqlRunner): Barrier {
  return {
    async commit(id) {
      const { text, params } = commitStatement(id);
      try {
        await sql(text, params);
      } catch (error) {
        const told = decidedBefore(error);
        if (told === undefined) throw error;
        throw new Problem('conflict', `The transaction ${id} is ${told} already.`, { cause: error });
      }
    },
  };
}

/** Clients and query builders wrap Postgres' error; deeper than this nobody does. */
const maxWraps = 4;

function faultsIn(error: unknown): readonly Readonly<Record<string, unknown>>[] {
  const faults: Record<string, unknown>[] = [];
  let fault: unknown = error;
  while (typeof fault === 'object' && fault !== null && faults.length <= maxWraps) {
    faults.push(fault as Record<string, unknown>);
    fault = (fault as { readonly cause?: unknown }).cause;
  }
  return faults;
}

/**
 * What the error of an aborted business transaction says was decided before; undefined when it failed for another
 * reason. SQLSTATE 23514 check_violation (PostgreSQL, Appendix A); postgres.js says `constraint_name`.
 */
export function decidedBefore(error: unknown): Told | undefined {
  for (const { code, constraint, constraint_name: named } of faultsIn(error)) {
    const rule = String(constraint ?? named);
    if (code === '23514' && rule in rules) return rules[rule as keyof typeof rules];
  }
  return undefined;
}

/** How long a check waits for a business transaction that is open: below the 5 s a check may take. */
const defaultWaitMs = 2_000;

/**
 * The answer to a check: what the business decided, or, if it has not, that it never will.
 * @param sql one statement at a time, outside any transaction
 * @returns `unknown` when a business transaction of this id is open and does not end in time
 */
export async function answerCheck(sql: SqlRunner, id: string, waitMs = defaultWaitMs): Promise<CheckState> {
  // The setting is local to this statement's own transaction, and set before the INSERT can wait.
  const text = `
    INSERT INTO setway_transaction AS known (id, decision)
    SELECT $1, 'rolled_back' WHERE set_config('lock_timeout', $2, true) IS NOT NULL
    ON CONFLICT (id) DO UPDATE SET decision = known.decision
    RETURNING decision`;
  try {
    const { rows } = await sql(text, [id, String(Math.max(1, Math.round(waitMs)))]);
    return rows[0]?.['decision'] === 'committed' ? 'committed' : 'rolled_back';
  } catch (error) {
    // 55P03 lock_not_available
    if (faultsIn(error).some(({ code }) => code === '55P03')) return 'unknown';
    throw error;
  }
}

export interface CheckHandlerOptions {
  /** Secrets of the topic (`whsec_…`) or their public keys (`whpk_…`); several during a rotation. */
  readonly secrets: readonly string[];
  /** Runs one statement on the producer's database, outside any transaction. */
  readonly sql: SqlRunner;
  readonly waitMs?: number;
  readonly clock?: Pick<Clock, 'nowMs'>;
}

/** A question is small. */
const maxBodyBytes = 64 * 1024;

/**
 * A `fetch`-style answer to checks: put it where `checkUrl` points. Whatever fails is no answer, and asked again.
 * @throws Problem `invalid-settings` at once when a secret is none
 * @example export const POST = checkHandler({ secrets: [secret], sql: (text, params) => pool.query(text, [...params]) });
 */
export function checkHandler(options: CheckHandlerOptions): (request: Request) => Promise<Response> {
  const { secrets, sql, waitMs, clock = systemClock } = options;
  if (secrets.length === 0 || !secrets.every(isWebhookSecret))
    throw new Problem('invalid-settings', 'Checks need the signing secrets of their topic, like whsec_….');
  return async (request) => {
    try {
      const body = await readBody(request, maxBodyBytes);
      if (!body) return answerRefusal({ status: 413, title: `The body exceeds ${maxBodyBytes} bytes` });
      verifyWebhook(body, request.headers, { secrets, nowSeconds: clock.nowMs() / 1000 });
      const state = await answerCheck(sql, transactionIn(body), waitMs);
      return Response.json({ state });
    } catch (error) {
      const { status, title } = asProblem(error);
      return answerRefusal({ status, title });
    }
  };
}

function transactionIn(body: Uint8Array): string {
  const value = readStrictJson(Buffer.from(body)) as { readonly transaction?: unknown } | null;
  return parseTransactionId(String(value?.transaction));
}
