/** Several statements of a script, one after the other. */
import type { SqlRunner } from '../../../shared/idempotency/sql.ts';

/** @param script separated by semicolons, none of them inside a text */
export async function runStatements(sql: SqlRunner, script: string): Promise<void> {
  for (const statement of script.split(';')) if (statement.trim() !== '') await sql(statement, []);
}
