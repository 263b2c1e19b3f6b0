import { originOf, type MessageId } from '../identifier.ts';

/** The database of a SET that keeps a message; after a failover the id's shard is folded into the sibling's shards. */
export function shardOf(id: MessageId, shards: number): number {
  return originOf(id).shard % shards;
}
