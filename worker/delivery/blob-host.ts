/**
 * The registry as its own blob host. It serves a blob, or ranges of it, to every client with a valid signed URL, without further
 * checks of access. The platform's cache is behind the check of the signature (`cached-blobs.ts`).
 */

import type { Env } from '../env.ts';
import { OciError } from '../oci/errors.ts';
import type { ByteRange } from '../oci/range.ts';
import { platformOf } from '../platform.ts';
import { readBlob } from '../registry/read-blob.ts';
import { cachedBlob } from './cached-blobs.ts';
import { answerWith, BLOB_TYPE, IMMUTABLE } from './content.ts';
import { parseBlobPath } from './path.ts';
import type { UrlSigner } from './signature.ts';

/** Answers GET and HEAD below `BLOB_HOST_PATH`. Throws DENIED, UNSUPPORTED, RANGE_INVALID, BLOB_UNKNOWN. */
export async function blobHost(request: Request, env: Env, signer: UrlSigner): Promise<Response> {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    throw new OciError('UNSUPPORTED', {
      message: 'the blob host only serves blobs',
      headers: { Allow: 'GET, HEAD' },
    });
  }
  const { pathname, search } = new URL(request.url);
  const verdict = await signer.verify(pathname, search);
  const blob = parseBlobPath(pathname);
  if (verdict === 'expired') {
    throw new OciError('DENIED', {
      message: 'this URL has expired: ask the registry for the blob again, and it will give a new one',
    });
  }
  if (verdict === 'forged' || blob === null) {
    throw new OciError('DENIED', {
      message: 'this URL is not signed by the registry: ask the registry for the blob',
    });
  }
  // One machine has no cache to go through.
  const cached = (range: ByteRange | null) => (platformOf(env).hasCache ? cachedBlob(blob, range) : null);
  const read = async (range: ByteRange | null) => (await cached(range)) ?? readBlob(env, blob, range);
  return answerWith(request, { ...blob, mediaType: BLOB_TYPE, cacheControl: IMMUTABLE, read });
}
