/**
 * The outbox: a message is a row of the user's own transaction, so it exists exactly when the business does.
 *
 *   BEGIN; business; outbox.add(message); COMMIT ─▶ flush: publish over HTTP, delete the rows
 *                                               └▶ relay-outbox (cron) does the same for whoever died before or while
 *
 * The row's id is the Idempotency-Key: published by flush, by the relay, or by both, it is one message, as long as the
 * deployment remembers keys (a day by default). Works with any client that runs SQL on Postgres.
 */
import { systemClock } from '../clock.ts';
import type { SqlRunner, SqlStatement } from '../idempotency/sql.ts';
import { readDraft } from '../message/draft.ts';
import type { PublishRequest } from '../message/draft-schema.ts';
import { Problem } from '../problem.ts';
import { drain, type Drained, type RowOutcome } from './drain.ts';
import { addStatement, outboxTable, type OutboxRow } from './outbox-table.ts';

export { outboxTable } from './outbox-table.ts';
export type { Drained } from './drain.ts';

/** What `POST /v1/messages` takes. */
export type OutboxMessage = PublishRequest;

export interface OutboxOptions {
  /** Default `setway_outbox`. */
  readonly table?: string;
  /** Where `flush` publishes; without it only the relay does. */
  readonly publish?: {
    /** The deployment, such as `https://setway.example.com`. */
    readonly url: string;
    /** With the scope `publish`, of the owner under whom the relay publishes too. */
    readonly apiKey: string;
    readonly fetch?: typeof fetch;
  };
}

export interface Outbox {
  /**
   * Adds a message to the transaction that `sql` is in.
   * @returns the row's id
   * @throws Problem `invalid-request` for a message that could never be published, before anything is stored
   */
  add(message: OutboxMessage): Promise<string>;
  /** The same as a statement, for clients that send a whole transaction at once: Neon's `transaction([...])`. */
  statement(message: OutboxMessage): SqlStatement & { readonly id: string };
  /**
   * Publishes what waits, of this and of other transactions. After the commit, and not inside a transaction. What it
   * does not come to, the relay does.
   */
  flush(): Promise<Drained>;
}

/**
 * Makes the table; safe to repeat.
 * @example await install((text, params) => pool.query(text, [...params]));
 */
export async function install(sql: SqlRunner, table?: string): Promise<void> {
  for (const statement of outboxTable(table)) await sql(statement, []);
}

/**
 * @param sql for `add`: runs statements inside the business transaction; for `flush`: outside of it
 * @example
 * await client.query('BEGIN');
 * await client.query('INSERT INTO account (mail) VALUES ($1)', [mail]);
 * await outbox((text, params) => client.query(text, [...params])).add({ topic: 'registrations', body: { mail } });
 * await client.query('COMMIT');
 * await outbox((text, params) => pool.query(text, [...params]), { publish: { url, apiKey } }).flush();
 */
export function outbox(sql: SqlRunner, options: OutboxOptions = {}): Outbox {
  const { publish, table } = options;
  const statement = (message: OutboxMessage): SqlStatement & { readonly id: string } => {
    readDraft(message, systemClock.nowMs()); // a message that is refused now would be refused for ever
    const id = crypto.randomUUID();
    return { id, ...addStatement({ id, key: message.key ?? null, message: JSON.stringify(message) }, table) };
  };
  return {
    statement,
    async add(message) {
      const { id, text, params } = statement(message);
      await sql(text, params);
      return id;
    },
    async flush() {
      if (!publish)
        throw new Problem('invalid-settings', 'Say where to publish: { publish: { url, apiKey } }.');
      const target = { ...publish, fetch: publish.fetch ?? fetch };
      return drain({ sql, table, publish: (row) => publishOverHttp(target, row) }, maxFlushed);
    },
  };
}

/** A flush is part of somebody's request: what is more than this waits for the relay. */
const maxFlushed = 1_000;
const requestTimeoutMs = 10_000;

type Target = Required<NonNullable<OutboxOptions['publish']>>;

/** What a request's own fault is answered with. A key that is refused (401, 403) is not the message's fault. */
const refusals: readonly number[] = [400, 404, 413, 415, 422];

async function publishOverHttp({ url, apiKey, fetch: send }: Target, row: OutboxRow): Promise<RowOutcome> {
  const response = await send(new URL('/v1/messages', url), {
    method: 'POST',
    headers: {
      authorization: `Bearer ${apiKey}`,
      'content-type': 'application/json',
      'idempotency-key': row.id,
    },
    body: row.message,
    signal: AbortSignal.timeout(requestTimeoutMs),
  });
  const text = await response.text();
  if (response.status === 202) return 'taken';
  return refusals.includes(response.status)
    ? { refused: `HTTP ${response.status}: ${text.slice(0, 500)}` }
    : 'later';
}
