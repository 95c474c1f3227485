/** The storage keys of content. The id in a key is a uuid, so a key says nothing about the bytes. */

import { type Digest, parseDigest } from '../oci/digest.ts';

const INLINE = 'inline/';

/** The storage key of content in the store. */
export function blobKey(id: string): string {
  return `blobs/${id}`;
}

const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Whether a text is a uuid, as those in storage keys. */
export function isContentId(text: string): boolean {
  return ID.test(text);
}

/** The uuid in a storage key of content in the store. */
export function contentIdOf(key: string): string {
  return key.split('/')[1] ?? '';
}

/** The storage key of a small blob on one machine, whose bytes the repository keeps beside its link. */
export function inlineKey(repository: string, digest: Digest): string {
  return `${INLINE}${digest.replace(':', '-')}/${repository}`;
}

export function isInlineKey(key: string): boolean {
  return key.startsWith(INLINE);
}

/** The repository and digest in an inline key. */
export function inlineBlobOf(key: string): { repository: string; digest: Digest } {
  const [encoded = '', ...name] = key.slice(INLINE.length).split('/');
  return { repository: name.join('/'), digest: parseDigest(encoded.replace('-', ':')) };
}
