/** A Bloom filter of texts. It finds every text that is in it, and about one in a thousand of other texts. */
import { createHash } from 'node:crypto';

export const BITS_PER_ENTRY = 14;
const HASHES = 10;

/** Whether a text is in the filter. */
export function isIn(filter: Uint8Array, text: string): boolean {
  return bitsOf(text, filter.length).every((bit) => ((filter[bit >> 3] ?? 0) & (1 << (bit & 7))) !== 0);
}

/** The positions of a text's bits in a filter of `bytes` bytes. */
export function bitsOf(text: string, bytes: number): number[] {
  const digest = createHash('sha256').update(text).digest();
  const [first, second] = [digest.readUInt32BE(0), digest.readUInt32BE(4)];
  return Array.from({ length: HASHES }, (_, at) => (first + at * second) % (bytes * 8));
}
