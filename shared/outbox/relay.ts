/**
 * The relay: drains the outbox of a user's database from inside the deployment, as the owner it is registered for.
 *
 * It publishes each row as if it were the request that `flush` sends: same key, same fingerprint, hence the same message
 * if both come to it.
 */
import { Buffer } from 'node:buffer';
import type { OutboxDefinition } from '../catalog/catalog.ts';
import type { Clock } from '../clock.ts';
import type { SqlRunner } from '../idempotency/sql.ts';
import { readDraft } from '../message/draft.ts';
import { readStrictJson } from '../message/strict-json.ts';
import { asProblem } from '../problem.ts';
import { fingerprintOf } from '../publish/fingerprint.ts';
import type { Publisher } from '../publish/publisher.ts';
import { calledUrls } from '../subscriptions/called-urls.ts';
import { checkWebhookUrl, type WebhookUrlPolicy } from '../webhook/address.ts';
import { drain, type Drained, type RowOutcome } from './drain.ts';
import type { OutboxRow } from './outbox-table.ts';

export interface RelayParts {
  readonly publisher: Pick<Publisher, 'publish'>;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly sql: SqlRunner;
  /** Where callbacks may go. */
  readonly urls: WebhookUrlPolicy;
}

/** @throws whatever the user's database throws */
export async function relayOutbox(
  parts: RelayParts,
  { owner, table }: Pick<OutboxDefinition, 'owner' | 'table'>,
  maxRows: number,
): Promise<Drained> {
  return drain({ sql: parts.sql, table, publish: (row) => publishRow(parts, owner, row) }, maxRows);
}

async function publishRow(
  { publisher, clock, urls }: RelayParts,
  owner: string,
  row: OutboxRow,
): Promise<RowOutcome> {
  const body = Buffer.from(row.message);
  const fingerprint = fingerprintOf({
    method: 'POST',
    path: '/v1/messages',
    headers: [['content-type', 'application/json']],
    addBody: (hash) => hash.update(body),
  });
  try {
    const draft = readDraft(readStrictJson(body), clock.nowMs());
    for (const { url } of calledUrls(draft)) checkWebhookUrl(url, urls);
    await publisher.publish(draft, { owner, waitMs: 0, idempotency: { key: row.id, fingerprint } });
    return 'taken';
  } catch (error) {
    const problem = asProblem(error);
    return problem.retryable ? 'later' : { refused: `${problem.kind}: ${problem.message}` };
  }
}
