/**
 * Numbered forward migrations, each in one transaction with its row in `schema_migration`. Two migrators at once do no
 * harm: the loser's transaction meets the winner's row and is rolled back. Never edit a migration once merged.
 */
import { asProblem } from '../problem.ts';
import { answerOf, type Sql } from './database.ts';
import { messages } from './migrations/0001-messages.ts';
import { catalog } from './migrations/0002-catalog.ts';
import { sendModes } from './migrations/0003-send-modes.ts';
import { ordering } from './migrations/0004-ordering.ts';
import { transactions } from './migrations/0005-transactions.ts';
import { search } from './migrations/0006-search.ts';
import { schedules } from './migrations/0007-schedules.ts';
import { delayed } from './migrations/0008-delayed.ts';
import { retention } from './migrations/0009-retention.ts';
import { catalogEdits } from './migrations/0010-catalog-edits.ts';
import { flow } from './migrations/0011-flow.ts';
import { leasedDeliveries } from './migrations/0012-leased-deliveries.ts';
import { keyEdits } from './migrations/0013-key-edits.ts';
import { gapCallbacks } from './migrations/0014-gap-callbacks.ts';
import { deliveryCallbacks } from './migrations/0019-delivery-callbacks.ts';
import { tenure } from './migrations/0020-tenure.ts';
import { bucketAdmission } from './migrations/0021-bucket-admission.ts';
import { mirror } from './migrations/0022-mirror.ts';
import { takeOver } from './migrations/0023-take-over.ts';
import { heldCopies } from './migrations/0024-held-copies.ts';
import { setRates } from './migrations/0025-set-rates.ts';
import { pinEdits } from './migrations/0026-pin-edits.ts';

const migrations = [
  { number: 1, name: 'messages', statements: messages },
  { number: 2, name: 'catalog', statements: catalog },
  { number: 3, name: 'send-modes', statements: sendModes },
  { number: 4, name: 'ordering', statements: ordering },
  { number: 5, name: 'transactions', statements: transactions },
  { number: 6, name: 'search', statements: search },
  { number: 7, name: 'schedules', statements: schedules },
  { number: 8, name: 'delayed', statements: delayed },
  { number: 9, name: 'retention', statements: retention },
  { number: 10, name: 'catalog-edits', statements: catalogEdits },
  { number: 11, name: 'flow', statements: flow },
  { number: 12, name: 'leased-deliveries', statements: leasedDeliveries },
  { number: 13, name: 'key-edits', statements: keyEdits },
  { number: 14, name: 'gap-callbacks', statements: gapCallbacks },
  { number: 19, name: 'delivery-callbacks', statements: deliveryCallbacks },
  { number: 20, name: 'tenure', statements: tenure },
  { number: 21, name: 'bucket-admission', statements: bucketAdmission },
  { number: 22, name: 'mirror', statements: mirror },
  { number: 23, name: 'take-over', statements: takeOver },
  { number: 24, name: 'held-copies', statements: heldCopies },
  { number: 25, name: 'set-rates', statements: setRates },
  { number: 26, name: 'pin-edits', statements: pinEdits },
] as const;

/**
 * Brings a database to the newest schema.
 * @returns the names of the migrations applied now; empty when there was nothing to do
 * @throws Problem `database-unavailable` or `internal` with the failing migration's cause
 */
export async function migrate(sql: Sql): Promise<readonly string[]> {
  await answerOf(
    sql`CREATE TABLE IF NOT EXISTS schema_migration (number integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())`,
  ).catch(ignoreConcurrentCreation);
  const missing = await missingOf(sql);
  for (const migration of missing) {
    // A DO block takes many statements in one parameterless query, which the HTTP protocol's single statement needs.
    const block = `DO $migration$ BEGIN\n${asBlock(migration.statements)}\nEND $migration$`;
    await answerOf(
      sql.transaction([
        sql`LOCK TABLE schema_migration IN EXCLUSIVE MODE`,
        sql`INSERT INTO schema_migration (number, name) VALUES (${migration.number}, ${migration.name})`,
        sql.query(block),
      ]),
    );
  }
  return missing.map((migration) => migration.name);
}

/** What `migrate` would apply; changes nothing. @throws Problem `database-unavailable` */
export async function missingMigrations(sql: Sql): Promise<readonly string[]> {
  const [there] = await answerOf(sql`SELECT to_regclass('schema_migration') IS NOT NULL AS is_there`);
  const missing = there?.['is_there'] === true ? await missingOf(sql) : migrations;
  return missing.map(({ name }) => name);
}

async function missingOf(sql: Sql): Promise<readonly (typeof migrations)[number][]> {
  const rows = await answerOf(sql`SELECT number FROM schema_migration LIMIT 10000`);
  const known = new Set<unknown>(rows.map((row): unknown => row['number']));
  return migrations.filter((migration) => !known.has(migration.number));
}

/** Inside a DO block a bare SELECT needs to be PERFORM. */
function asBlock(statements: string): string {
  return statements.replaceAll(/^SELECT /gm, 'PERFORM ');
}

/** `CREATE TABLE IF NOT EXISTS` by two sessions at once may be refused with a unique violation: then the table is there. */
function ignoreConcurrentCreation(error: unknown): readonly never[] {
  if (asProblem(error).kind === 'internal') return [];
  throw error;
}
