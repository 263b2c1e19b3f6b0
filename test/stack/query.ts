/** Looks into a database past the product: what it says must be what is there. */
import pg from 'pg';

/** @example const [row] = await query(url, 'SELECT count(*)::int AS count FROM message'); */
export async function query(
  url: string,
  text: string,
  params: readonly unknown[] = [],
): Promise<readonly Readonly<Record<string, unknown>>[]> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  await client.connect();
  try {
    const { rows } = await client.query<Record<string, unknown>>(text, [...params]);
    return rows;
  } finally {
    await client.end();
  }
}

/** Rows of a table in several databases together. */
export async function countRows(urls: Iterable<string>, table: string, where = 'true'): Promise<number> {
  const counts = await Promise.all(
    [...urls].map((url) => query(url, `SELECT count(*)::int AS count FROM ${table} WHERE ${where}`)),
  );
  return counts.reduce((sum, [row]) => sum + Number(row?.['count']), 0);
}
