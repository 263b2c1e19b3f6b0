/** The control plane for one command: settings, drivers, and everything closed again at the end. */
import type { FleetParts } from '../../shared/fleet/fleet.ts';
import { Problem } from '../../shared/problem.ts';
import { createSealer } from '../../shared/sealed.ts';
import { readSettings } from '../../shared/settings.ts';
import { createCatalogWriter } from '../../shared/store/catalog-edits.ts';
import { openDatabase } from '../../shared/store/database.ts';
import { createFleet } from '../assemble-fleet.ts';
import { openDrivers } from '../node/drivers.ts';

/** @example await withFleet(print, (fleet) => applyAll(fleet, ['hangzhou'])) */
export async function withFleet<T>(
  report: (line: string) => void,
  work: (fleet: FleetParts) => Promise<T>,
): Promise<T> {
  const settings = readSettings(process.env);
  const drivers = openDrivers(settings);
  try {
    const catalogUrls = settings.SETWAY_CATALOG_DATABASES;
    const center = openDatabase(catalogUrls[0] ?? '');
    // Every story spreads what it wrote before it says that it is done.
    const writer = createCatalogWriter({ center, onWritten: () => Promise.resolve() });
    const sealer = createSealer(settings.SETWAY_ENCRYPTION_KEYS);
    return await work(createFleet({ sealer, writer, catalogUrls, report }));
  } finally {
    await drivers.close();
  }
}

/** The one id an action is about. @throws Problem `invalid-request` with how it is called */
export function onlyId(ids: readonly string[], usage: string): string {
  const [id, ...more] = ids;
  if (id === undefined || more.length > 0)
    throw new Problem('invalid-request', `Name one SET: setway sets ${usage}`);
  return id;
}
