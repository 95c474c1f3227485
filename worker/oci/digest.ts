/**
 * Digests: `algorithm:encoded`, of the two algorithms that the image specification registers.
 * A `Digest` exists only where `parseDigest` or the hashing of content made it.
 */
import { createHash } from 'node:crypto';
import { OciError } from './errors.ts';

declare const brand: unique symbol;
export type Digest = string & { readonly [brand]: 'Digest' };

export const ALGORITHMS = ['sha256', 'sha512'] as const;
export type Algorithm = (typeof ALGORITHMS)[number];

const DIGEST = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;

/** Throws DIGEST_INVALID. Image spec, "Digests". */
export function parseDigest(text: string): Digest {
  if (!DIGEST.test(text)) {
    throw new OciError('DIGEST_INVALID', {
      message: 'a digest is "sha256:" and 64, or "sha512:" and 128, lowercase hexadecimal digits',
      detail: { digest: text.slice(0, 256) },
    });
  }
  return text as Digest;
}

/** True where `parseDigest` would not throw. */
export function isDigest(text: string): text is Digest {
  return DIGEST.test(text);
}

/** Throws DIGEST_INVALID where the registry does not know the algorithm (end-4c). */
export function parseAlgorithm(text: string): Algorithm {
  const known = ALGORITHMS.find((algorithm) => algorithm === text);
  if (known === undefined) {
    throw new OciError('DIGEST_INVALID', {
      message: `the digest algorithm must be one of ${ALGORITHMS.join(', ')}`,
      detail: { algorithm: text.slice(0, 64) },
    });
  }
  return known;
}

export function algorithmOf(digest: Digest): Algorithm {
  return digest.startsWith('sha256:') ? 'sha256' : 'sha512';
}

/** The encoded part: lowercase hexadecimal digits. */
export function encodedOf(digest: Digest): string {
  return digest.slice(digest.indexOf(':') + 1);
}

/** The digest whose hash has these bytes (32 or 64). */
export function digestFrom(algorithm: Algorithm, hash: Uint8Array): Digest {
  let encoded = '';
  for (const byte of hash) encoded += byte.toString(16).padStart(2, '0');
  return `${algorithm}:${encoded}` as Digest;
}

/** Hashes content that is wholly in memory, such as a manifest. */
export async function digestOf(algorithm: Algorithm, bytes: Uint8Array): Promise<Digest> {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}` as Digest;
}
