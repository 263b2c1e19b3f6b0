/** What an edge asks of a host about the catalog: that it follows it now, and what this SET has stopped by itself. */
import type { CatalogSource } from '../catalog/catalog.ts';
import type { SetLink } from '../sets/set-link.ts';
import type { HostView } from './host-view.ts';
import type { Register } from './register.ts';

export interface CatalogCallParts {
  readonly set: string;
  readonly catalog: CatalogSource;
  readonly register: Pick<Register, 'disabled'>;
}

export function createCatalogCalls(
  { set, catalog, register }: CatalogCallParts,
  view: Pick<HostView, 'enable'>,
  reconcile: () => Promise<void>,
): Pick<SetLink, 'stopped' | 'enable' | 'follow'> {
  return {
    stopped: async () => ({ set, stops: Object.fromEntries(await register.disabled()) }),
    async enable(name) {
      await view.enable(name);
      await reconcile();
    },
    async follow() {
      const { version } = await (catalog.renew?.() ?? catalog.current());
      await reconcile();
      return version;
    },
  };
}
