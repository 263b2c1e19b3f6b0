import { originOf, type SetwayId } from '../identifier.ts';

/** The database of a SET that keeps a message or a transaction; after a failover the id's shard is folded into the sibling's shards. */
export function shardOf(id: SetwayId, shards: number): number {
  return originOf(id).shard % shards;
}
