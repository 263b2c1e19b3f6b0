/**
 * Rotates the key of the secrets at rest: with the new key in front of the old one, everything is opened and sealed again
 * as the next version of the catalog. Safe to repeat; a copy that failed is written by `probe-sets`.
 */
import { compileCatalog, resealDocument } from '../../shared/catalog/document.ts';
import { Problem } from '../../shared/problem.ts';
import type { Sealer } from '../../shared/sealed.ts';
import { appendDocument, copyCatalog, readDocument } from '../../shared/store/catalog.ts';
import { openDatabase } from '../../shared/store/database.ts';

/**
 * @param catalogUrls databases that hold the catalog, the center's first
 * @returns the version written
 * @throws Problem `not-found` without a catalog; `invalid-settings` when no key opens a secret; `conflict` when somebody
 * else wrote the same version first: run it again
 */
export async function reseal({
  sealer,
  catalogUrls,
}: {
  readonly sealer: Sealer;
  readonly catalogUrls: readonly string[];
}): Promise<number> {
  const [center, ...others] = catalogUrls.map((url) => openDatabase(url));
  const newest = center && (await readDocument(center));
  if (!newest) throw new Problem('not-found', 'There is no catalog yet: setway apply seed.json.');
  const document = resealDocument(newest.document, sealer);
  const version = newest.version + 1;
  const { access } = compileCatalog(version, document, {}, sealer);
  await appendDocument(center, { version, document });
  const copies = [...access.values()].map(({ databaseUrls }) => openDatabase(databaseUrls[0] ?? ''));
  await copyCatalog([center], [...others, ...copies]);
  return version;
}
