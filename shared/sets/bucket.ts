/**
 * Buckets: a key always falls into the same of 16,384 buckets, and the route table says which SET has the bucket. Moving
 * users between SETs moves buckets, never changes this function: **it must stay as it is forever.**
 *
 * bucket = CRC16/XMODEM(UTF-8 bytes of the key) mod 16384, as Redis Cluster computes its slots, but without Redis' hash
 * tags: `{` and `}` have no meaning here. Test vectors: '' → 0, '123456789' → 12739, 'foo' → 12182, 'bar' → 5061.
 * Source: https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/ (appendix A).
 */
export const bucketCount = 16_384;

const utf8 = new TextEncoder();

/** Polynomial x¹⁶ + x¹² + x⁵ + 1, one entry per byte. */
const table = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8;
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
  return crc;
});

/** The bucket of a key, 0–16383. */
export function bucketOf(key: string): number {
  let crc = 0;
  for (const byte of utf8.encode(key)) crc = ((crc << 8) ^ (table[(crc >> 8) ^ byte] ?? 0)) & 0xffff;
  return crc % bucketCount;
}
