/**
 * The keys of content: the one place that spells them. An id is a uuid, so a key says nothing about the bytes. It is apart
 * from `blobs.ts`, which imports the stores that import this.
 */

import { type Digest, parseDigest } from '../oci/digest.ts';

const INLINE = 'inline/';

/** The key of content that the store has. */
export function blobKey(id: string): string {
  return `blobs/${id}`;
}

/** The key of a small blob on one machine, whose bytes are beside its link in the repository. */
export function inlineKey(repository: string, digest: Digest): string {
  return `${INLINE}${digest.replace(':', '-')}/${repository}`;
}

export function isInline(key: string): boolean {
  return key.startsWith(INLINE);
}

/** Whose bytes an inline key leads to. */
export function inlineBlobOf(key: string): { repository: string; digest: Digest } {
  const [encoded = '', ...name] = key.slice(INLINE.length).split('/');
  return { repository: name.join('/'), digest: parseDigest(encoded.replace('-', ':')) };
}
