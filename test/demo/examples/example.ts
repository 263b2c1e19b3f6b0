/** What a runnable example is made of: the part of the catalog it needs, and the play itself. */
import type pg from 'pg';
import type { Job } from '../../../scheduled/run-job.ts';
import type { SeedInput } from '../../../shared/catalog/seed.ts';
import type { SqlRunner } from '../../../shared/idempotency/sql.ts';
import type { Client } from '../../stack/client.ts';

/** Where the catalog of an example may point to. */
export interface Place {
  /** Hooks of the play are below it: `${hooksUrl}/mail`. */
  readonly hooksUrl: string;
  /** Signs the webhooks and checks of the play. */
  readonly secret: string;
  /** The database of the example's own business. */
  readonly databaseUrl: string;
}

/** Topics, subscriptions and outboxes; the SETs are those of the demo. Everything belongs to the owner `demo`. */
export type CatalogPart = Pick<SeedInput, 'topics' | 'subscriptions' | 'outboxes'>;

export interface Example {
  /** For `npm run demo -- --example <name>`. */
  readonly name: string;
  /** One line, for the list. */
  readonly shows: string;
  catalog(place: Place): CatalogPart;
  play(stage: Stage): Promise<void>;
}

export interface Stage extends Place {
  /** The edge and the key to it, for parts that publish by themselves. */
  readonly edge: { readonly url: string; readonly apiKey: string };
  readonly client: Client;
  readonly business: pg.Pool;
  /** One statement on the business's database, outside any transaction. */
  readonly sql: SqlRunner;
  /** Where the guards of consumers keep what they know. */
  readonly redis: { readonly url: string; readonly token: string };
  /** Takes the POSTs to `${hooksUrl}/<name>` from now on. */
  readonly hook: (name: string, handle: (request: Request) => Promise<Response>) => void;
  /** Prints a step. */
  readonly say: (step: string) => void;
  /** A claim that the example ends with: printed, and one that is wrong makes the whole example wrong. */
  readonly check: (claim: string, isTrue: boolean) => void;
  /** Runs cron functions now, on a platform without anything that lives long. */
  readonly runJobs: (...jobs: readonly Job[]) => Promise<void>;
}
