/** Hashes and comparison of secrets. */
import { createHash, timingSafeEqual } from 'node:crypto';

/** SHA-256 of a text, in hexadecimal. Not for passwords: it is fast. */
export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** Compares two texts of any length. The time does not depend on how much of them is equal. */
export function equalSecrets(a: string, b: string): boolean {
  const [left, right] = [a, b].map((text) => createHash('sha256').update(text).digest());
  return left !== undefined && right !== undefined && timingSafeEqual(left, right);
}
