/** The webhook functions of this deployment, by name. Put yours here; a subscription names one in `endpoint.function`. */
import type { CatalogSource } from '../../shared/catalog/catalog.ts';
import { createFallbackGuard } from '../../shared/idempotency/fallback-guard.ts';
import { createPostgresGuard } from '../../shared/idempotency/postgres-guard.ts';
import { createRedisGuard } from '../../shared/idempotency/redis-guard.ts';
import type { SqlRunner, SqlTransaction } from '../../shared/idempotency/sql.ts';
import type { RedisScripts } from '../../shared/idempotency/upstash.ts';
import { Problem } from '../../shared/problem.ts';
import { openDatabase } from '../../shared/store/database.ts';
import type { WebhookFunction } from '../courier.ts';
import { inventoryWebhook } from './inventory.ts';
import { receiptWebhook } from './receipt.ts';

export interface WebhookFunctionsParts {
  readonly catalog: CatalogSource;
  readonly redis: RedisScripts;
  /** Where the consumers keep their own tables. */
  readonly databaseUrl: string | undefined;
  /** Keeps work alive beyond the answer where the platform would end it. */
  readonly inBackground: (work: Promise<unknown>) => void;
}

export function webhookFunctions(parts: WebhookFunctionsParts): Readonly<Record<string, WebhookFunction>> {
  const { sql, transact } = consumerDatabase(parts.databaseUrl);
  const { inBackground } = parts;
  const redis = createRedisGuard(parts.redis);
  const database = createPostgresGuard(sql);
  return {
    inventory: withSecrets(parts.catalog, 'inventory', (secrets) =>
      inventoryWebhook({ secrets, sql, transact }),
    ),
    receipt: withSecrets(parts.catalog, 'receipt', (secrets) =>
      receiptWebhook({ secrets, sql, inBackground, guard: createFallbackGuard({ redis, database }) }),
    ),
  };
}

/** Makes the handler anew when the subscription's secrets have changed. */
function withSecrets(
  catalog: CatalogSource,
  subscription: string,
  make: (secrets: readonly string[]) => WebhookFunction,
): WebhookFunction {
  let known: { readonly secrets: readonly string[]; readonly handle: WebhookFunction } | undefined;
  return async (request) => {
    const { subscriptions } = await catalog.current();
    const secrets = subscriptions.get(subscription)?.secrets ?? [];
    if (known?.secrets !== secrets) known = { secrets, handle: make(secrets) };
    return known.handle(request);
  };
}

function consumerDatabase(url: string | undefined): {
  readonly sql: SqlRunner;
  readonly transact: SqlTransaction;
} {
  const database = url === undefined ? undefined : openDatabase(url);
  const open = () => {
    if (!database)
      throw new Problem('invalid-settings', "Set SETWAY_WEBHOOK_DATABASE to the consumers' database.");
    return database;
  };
  return {
    sql: async (text, params) => ({ rows: await open().query(text, [...params]) }),
    transact: (statements) =>
      open().transaction(statements.map(({ text, params }) => open().query(text, [...params]))),
  };
}
