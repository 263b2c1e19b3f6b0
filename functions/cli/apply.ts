/** Writes a seed as the next version of the catalog, to the center first, then to every SET. */
import { carryOver } from '../../shared/catalog/carry-over.ts';
import { sealSeed, type CatalogDocument } from '../../shared/catalog/document.ts';
import type { Seed } from '../../shared/catalog/seed.ts';
import type { Sealer } from '../../shared/sealed.ts';
import { assignBuckets, heldBy } from '../../shared/sets/ownership.ts';
import { openBuckets } from '../../shared/store/bucket-admission.ts';
import { appendDocument, copyCatalog, readDocument } from '../../shared/store/catalog.ts';
import { openDatabase } from '../../shared/store/database.ts';
import { asProblem, Problem, type Fault } from '../../shared/problem.ts';
import { calledUrls } from '../../shared/subscriptions/called-urls.ts';
import { checkWebhookUrl, type WebhookUrlPolicy } from '../../shared/webhook/address.ts';
import { migrate } from '../../shared/store/migrate.ts';

export interface ApplyParts {
  readonly sealer: Sealer;
  /** Databases that hold the catalog, the center's first. */
  readonly catalogUrls: readonly string[];
  readonly report: (line: string) => void;
  /** Which webhook URLs are allowed. */
  readonly policy: WebhookUrlPolicy;
}

/**
 * Safe to repeat: migrations apply once, and a copy that failed is written by the next run or by `probe-sets`.
 * @returns the version written
 * @throws Problem `destination-refused` for webhook URLs that are not allowed; `database-unavailable`; `conflict` when somebody else wrote the same version first, or for a SET's number that another one had
 */
export async function applySeed(
  { sealer, catalogUrls, report, policy }: ApplyParts,
  seed: Seed,
): Promise<number> {
  refuseBadWebhooks(seed, policy);
  const urls = new Set([...catalogUrls, ...seed.sets.flatMap((set) => set.databaseUrls)]);
  for (const url of urls) {
    const applied = await migrate(openDatabase(url));
    if (applied.length > 0) report(`${new URL(url).pathname.slice(1)}: migrated (${applied.join(', ')})`);
  }
  const [center, ...others] = catalogUrls.map((url) => openDatabase(url));
  if (!center) return 0;
  const newest = await readDocument(center);
  const version = (newest?.version ?? 0) + 1;
  const kept = carryOver(newest?.document, sealSeed(seed, sealer));
  const moves = movesAmong(newest?.document.moves, kept);
  const buckets = [...assignBuckets(newest?.document.buckets ?? [], seed.buckets, kept.sets)];
  // Before the catalog says so: whoever reads it finds them open.
  for (const { id, databaseUrls } of kept.sets)
    for (const url of databaseUrls)
      await openBuckets(openDatabase(sealer.open(url)), id, heldBy(buckets, id));
  await appendDocument(center, { version, document: { ...kept, buckets, ...moves } });
  const copies = kept.sets.map((set) => openDatabase(sealer.open(set.databaseUrls[0] ?? '')));
  const written = await copyCatalog([center], [...others, ...copies]);
  report(`Copied to ${written} further databases.`);
  return version;
}

/** @throws Problem `conflict` when a SET is to go that buckets come from, or go to */
function movesAmong(
  moves: CatalogDocument['moves'],
  { sets }: CatalogDocument,
): Pick<CatalogDocument, 'moves'> {
  if (moves === undefined) return {};
  const ids = new Set(sets.map(({ id }) => id));
  const lost = moves.find(({ source, target }) => !ids.has(source) || !ids.has(target));
  if (!lost) return { moves };
  throw new Problem(
    'conflict',
    `Buckets ${lost.from} to ${lost.to} are on their way from "${lost.source}" to "${lost.target}": both must stay until they are there.`,
  );
}

function faultsOf(at: string, url: string, policy: WebhookUrlPolicy): readonly Fault[] {
  try {
    checkWebhookUrl(url, policy);
    return [];
  } catch (error) {
    return [{ at, detail: asProblem(error).message }];
  }
}

function refuseBadWebhooks(seed: Seed, policy: WebhookUrlPolicy): void {
  const faults = seed.subscriptions.flatMap((entry, index) =>
    calledUrls(entry).flatMap(({ at, url }) => faultsOf(`/subscriptions/${index}${at}`, url, policy)),
  );
  if (faults.length === 0) return;
  const lines = faults.map(({ at, detail }) => `  ${at}: ${detail}`);
  throw new Problem('destination-refused', `These webhooks are not allowed:\n${lines.join('\n')}`, {
    faults,
  });
}
