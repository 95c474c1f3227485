/**
 * The path of a blob on the registry's own blob host, `/blob-host/<algorithm>-<encoded>/<size>/<key>`. It contains all that an answer
 * needs, and the signature proves that the registry made it.
 */
import { isDigest } from '../oci/digest.ts';
import type { StoredBlob } from '../registry/read-blob.ts';

const BLOB_HOST_PATH = '/blob-host';

const PATH = /^\/blob-host\/(sha256|sha512)-([0-9a-f]+)\/(\d{1,15})\/(blobs\/[a-z0-9/-]+)$/;

export function blobPath({ digest, size, key }: StoredBlob): string {
  return `${BLOB_HOST_PATH}/${digest.replace(':', '-')}/${size}/${key}`;
}

/** Null for a path that `blobPath` did not make. */
export function parseBlobPath(path: string): StoredBlob | null {
  const [, algorithm, encoded, size, key] = PATH.exec(path) ?? [];
  const digest = `${algorithm}:${encoded}`;
  return key !== undefined && isDigest(digest) ? { digest, size: Number(size), key } : null;
}
