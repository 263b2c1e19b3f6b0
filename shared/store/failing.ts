/** Webhooks that fail for long: see shared/host/failure-watch.ts. */
import { answerOf, type Sql } from './database.ts';
import { text, textOrNull } from './rows.ts';

export interface AnswersSaid {
  readonly subscription: string;
  readonly successes: number;
  readonly failures: number;
  readonly error: string | null;
}

export interface FailingFound {
  readonly subscription: string;
  readonly forMs: number;
  readonly failures: number;
  readonly error: string | null;
}

/** Writes what one host heard. Rows go in by name, so that hosts which report at once do not deadlock. */
export async function reportAnswers(
  sql: Sql,
  said: readonly AnswersSaid[],
): Promise<readonly FailingFound[]> {
  const rows = await answerOf(sql`
    WITH said AS MATERIALIZED (
      SELECT * FROM json_to_recordset(${JSON.stringify(said)}::json) AS s(subscription text, successes bigint, failures bigint, error text)
    ), locked AS (
      SELECT f.subscription FROM failing_subscription f JOIN said s USING (subscription)
      WHERE s.successes > 0 ORDER BY f.subscription FOR UPDATE OF f
    ), well AS (
      DELETE FROM failing_subscription f USING locked l WHERE f.subscription = l.subscription
    )
    INSERT INTO failing_subscription AS f (subscription, failures, error)
    SELECT subscription, failures, error FROM said WHERE successes = 0 AND failures > 0 ORDER BY subscription
    ON CONFLICT (subscription) DO UPDATE SET failures = f.failures + excluded.failures, error = excluded.error
    RETURNING subscription, failures, error, extract(epoch FROM now() - since) * 1000 AS for_ms`);
  return rows.map((row) => ({
    subscription: text(row['subscription']),
    forMs: Number(row['for_ms']),
    failures: Number(row['failures']),
    error: textOrNull(row['error']),
  }));
}
