/**
 * The guard in Postgres: one row per key, the same protocol. Only the database's clock decides what has expired; an
 * expired row counts as none. Every step is one statement, so it fits HTTP drivers and transaction-mode poolers.
 *
 * `reserve` must see the row of a rival that commits meanwhile, which a SELECT beside the INSERT would not (its snapshot
 * is older). So it always upserts: on conflict each column becomes the new value if the old row had expired and itself
 * otherwise, and RETURNING tells whose token stands. `now()` is one instant for all columns; waiting for a rival's row
 * lock makes it slightly old, which only shortens the lease.
 */
import { Problem } from '../problem.ts';
import type { Guard, Reservation } from './guard.ts';
import type { SqlRunner } from './sql.ts';

/**
 * The table. Rows past `expires_at` are dead; delete them now and then:
 * `DELETE FROM setway_guard WHERE expires_at < now()`.
 */
export const guardTable = `
CREATE TABLE IF NOT EXISTS setway_guard (
  key text PRIMARY KEY,
  token text NOT NULL,
  fingerprint text NOT NULL,
  done boolean NOT NULL,
  expires_at timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS setway_guard_expiry ON setway_guard (expires_at);
`;

const reserveQuery = `
INSERT INTO setway_guard AS held (key, token, fingerprint, done, expires_at)
VALUES ($1, $2, $3, false, now() + $4 * interval '1 millisecond')
ON CONFLICT (key) DO UPDATE SET
  token = CASE WHEN held.expires_at <= now() THEN excluded.token ELSE held.token END,
  fingerprint = CASE WHEN held.expires_at <= now() THEN excluded.fingerprint ELSE held.fingerprint END,
  done = CASE WHEN held.expires_at <= now() THEN false ELSE held.done END,
  expires_at = CASE WHEN held.expires_at <= now() THEN excluded.expires_at ELSE held.expires_at END
RETURNING token, fingerprint, done,
  (extract(epoch FROM expires_at - now()) * 1000)::float8 AS remaining_ms`;

const renewQuery = `
UPDATE setway_guard SET expires_at = now() + $3 * interval '1 millisecond'
WHERE key = $1 AND token = $2 AND NOT done AND expires_at > now()
RETURNING key`;

const completeQuery = `
INSERT INTO setway_guard AS held (key, token, fingerprint, done, expires_at)
VALUES ($1, $2, $3, true, now() + $4 * interval '1 millisecond')
ON CONFLICT (key) DO UPDATE SET
  token = excluded.token, fingerprint = excluded.fingerprint, done = true, expires_at = excluded.expires_at
WHERE held.token = excluded.token OR held.expires_at <= now()
RETURNING key`;

const releaseQuery = 'DELETE FROM setway_guard WHERE key = $1 AND token = $2 AND NOT done';

/**
 * @param run one statement, in its own transaction
 * @example
 * const guard = createPostgresGuard((text, params) => pool.query(text, [...params]));
 */
export function createPostgresGuard(
  run: SqlRunner,
  newToken: () => string = () => crypto.randomUUID(),
): Guard {
  const ask = async (text: string, params: readonly unknown[]) => {
    try {
      return (await run(text, params)).rows;
    } catch (error) {
      throw new Problem('database-unavailable', 'The guard cannot ask its database.', { cause: error });
    }
  };
  return {
    reserve: async (key, fingerprint, leaseMs) => {
      const token = newToken();
      const [row] = await ask(reserveQuery, [key, token, fingerprint, leaseMs]);
      return toReservation(row as unknown as HeldRow, { token, fingerprint });
    },
    renew: async (key, token, leaseMs) => (await ask(renewQuery, [key, token, leaseMs])).length === 1,
    complete: async (key, token, { fingerprint, ttlMs }) =>
      (await ask(completeQuery, [key, token, fingerprint, ttlMs])).length === 1,
    release: async (key, token) => {
      await ask(releaseQuery, [key, token]);
    },
  };
}

interface HeldRow {
  readonly token: string;
  readonly fingerprint: string;
  readonly done: boolean;
  readonly remaining_ms: number;
}

function toReservation(row: HeldRow, mine: { token: string; fingerprint: string }): Reservation {
  if (row.token === mine.token) return { outcome: 'reserved', token: mine.token };
  if (row.fingerprint !== mine.fingerprint) return { outcome: 'mismatch' };
  if (row.done) return { outcome: 'duplicate' };
  return { outcome: 'in-flight', retryAfterMs: Math.max(1, Math.ceil(row.remaining_ms)) };
}
