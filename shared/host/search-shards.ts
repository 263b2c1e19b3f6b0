import { newestFirst, type FoundMessage, type MessageSearch } from '../sets/search.ts';
import type { Store } from '../store/store.ts';

interface SearchParts {
  readonly set: string;
  readonly stores: readonly Store[];
}

/** Asks every database of the SET and merges: what one of them cannot tell, the SET cannot tell. */
export async function searchShards(
  { set, stores }: SearchParts,
  search: MessageSearch,
): Promise<readonly FoundMessage[]> {
  const found = await Promise.all(stores.map((store) => store.search(set, search)));
  return found.flat().toSorted(newestFirst).slice(0, search.limit);
}
