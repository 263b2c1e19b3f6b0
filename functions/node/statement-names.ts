/**
 * Names under which Postgres keeps a statement parsed and planned, per connection ("Prepared statements",
 * https://www.postgresql.org/docs/current/sql-prepare.html). Only for texts that ask for it with `/* keep the plan *\/`:
 * statements that choose no way through a table, so that a plan stays as good when tables grow. A group commit is one:
 * it only inserts.
 *
 * A name may stop working without any harm: a migration changed what the statement returns, or a pooler hands out
 * another server connection that never heard of it. Both are refused before anything is executed, so the statement runs
 * once more without a name, and gets a new one the next time. The names are counted: where they keep failing, as behind
 * a pooler that knows none, they end.
 */
export interface StatementNames {
  /** Undefined when the statement should be sent without one. */
  nameOf(query: string): string | undefined;
  /** The name did not work: the next use gets a new one. */
  forget(query: string): void;
}

const mark = '/* keep the plan */';
/** Far more than there are such statements. */
const maxNames = 100;

export function createStatementNames(): StatementNames {
  const names = new Map<string, string>();
  let given = 0;
  return {
    nameOf(query) {
      const known = names.get(query);
      if (known !== undefined || given >= maxNames || !query.includes(mark)) return known;
      const name = `setway_${given++}`;
      names.set(query, name);
      return name;
    },
    forget: (query) => void names.delete(query),
  };
}

/** invalid_sql_statement_name, duplicate_prepared_statement, feature_not_supported (what a cached plan returned changed). */
const nameFaults: ReadonlySet<string | undefined> = new Set(['26000', '42P05', '0A000']);

/** Did Postgres refuse a name, or a plan kept under it, before anything ran? */
export function isNameFault({ code }: { readonly code?: string | undefined }): boolean {
  return nameFaults.has(code);
}
