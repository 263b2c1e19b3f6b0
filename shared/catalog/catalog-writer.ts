/**
 * The contract of changing the catalog entry by entry. A change is decided on the newest document and written only if
 * what it was decided on is still so: two that touch different entries both happen, whoever comes first; of two that
 * touch the same one, the second is decided again.
 */
import type { CatalogDocument } from './document.ts';

export interface CatalogEdit {
  readonly list: 'topics' | 'subscriptions' | 'discarded' | 'keys' | 'sets' | 'setNumbers' | 'pins';
  /** Of a key and of a SET: its id; of a pin: topic and key (shared/catalog/pins.ts). */
  readonly name: string;
  /** As it is kept, secrets sealed; null: there is none. */
  readonly entry: { readonly name: string } | { readonly id: string } | { readonly key: string } | null;
}

export interface CatalogChange {
  /** Entries as they must still be. */
  readonly expected: readonly CatalogEdit[];
  /** Entries as they will be. */
  readonly edits: readonly [CatalogEdit] | readonly [CatalogEdit, CatalogEdit];
  /** A topic that must still be without subscriptions. */
  readonly unheard?: string;
}

export interface CatalogWriter {
  /**
   * @param decide called with the newest document, again when another writer changed what it looked at; may throw
   * @throws what `decide` throws; Problem `database-unavailable` when the center does not answer: the change may have
   * happened all the same; `conflict` when others keep changing the same entry
   */
  write(decide: (document: CatalogDocument) => CatalogChange | 'as it should be'): Promise<void>;
}
