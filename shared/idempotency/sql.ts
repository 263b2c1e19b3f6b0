/** The least that SQL clients share, so that guard and `once` work with the Neon driver, pg and others alike. */

/**
 * Runs one statement.
 * @param text with `$1`-style parameters
 * @example const run: SqlRunner = (text, params) => pool.query(text, [...params]);
 * @example const run: SqlRunner = async (text, params) => ({ rows: await neonSql.query(text, [...params]) });
 */
export type SqlRunner = (
  text: string,
  params: readonly unknown[],
) => Promise<{ readonly rows: readonly Record<string, unknown>[] }>;

export interface SqlStatement {
  readonly text: string;
  readonly params: readonly unknown[];
}

/**
 * Runs statements in one transaction, all or nothing, without a decision in between: the Neon driver over HTTP.
 * @example const transact: SqlTransaction = (statements) =>
 *   neonSql.transaction(statements.map(({ text, params }) => neonSql.query(text, [...params])));
 */
export type SqlTransaction = (statements: readonly SqlStatement[]) => Promise<unknown>;
