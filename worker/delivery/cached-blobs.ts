/**
 * The inner entrypoint behind Cloudflare's Workers Cache, so that a blob is read from R2 once for each region. It checks no access:
 * it has no route, and only the blob host calls it, after the signature was checked
 * (docs/decisions/0007-what-caches-may-keep.md).
 */

import { exports, WorkerEntrypoint } from 'cloudflare:workers';
import type { Env } from '../env.ts';
import { OciError } from '../oci/errors.ts';
import type { ByteRange } from '../oci/range.ts';
import { readBlob, type StoredBlob } from '../registry/read-blob.ts';
import { answerWith, BLOB_TYPE } from './content.ts';
import { CACHED_BLOB_MAX_BYTES } from './delivery.ts';
import { blobPath, parseBlobPath } from './path.ts';

declare global {
  namespace Cloudflare {
    interface GlobalProps {
      // `worker/index.ts` exports it, which types `exports` of the platform.
      mainModule: { CachedBlobs: typeof CachedBlobs };
    }
  }
}

/** `Cache-Control` of the whole blob. The platform answers ranges from it. */
const CACHEABLE = 'public, max-age=31536000, immutable, no-transform';

export class CachedBlobs extends WorkerEntrypoint<Env> {
  override async fetch(request: Request): Promise<Response> {
    const blob = parseBlobPath(new URL(request.url).pathname);
    if (blob === null) return new Response(null, { status: 404 });
    const read = (range: ByteRange | null) => readBlob(this.env, blob, range);
    try {
      return await answerWith(request, { ...blob, mediaType: BLOB_TYPE, cacheControl: CACHEABLE, read });
    } catch (error) {
      // The blob host then reads the store, and its answer says what is wrong.
      if (error instanceof OciError) return new Response(null, { status: error.status });
      throw error;
    }
  }
}

/**
 * The bytes of a blob, or a range of them, through the cache. Null where the cache cannot serve them. The local runtimes have no
 * cache: there this reads the bucket.
 */
export async function cachedBlob(
  blob: StoredBlob,
  range: ByteRange | null,
): Promise<ReadableStream<Uint8Array> | null> {
  if (blob.size > CACHED_BLOB_MAX_BYTES) return null;
  const headers = range === null ? {} : { Range: `bytes=${range.first}-${range.last}` };
  const response = await exports.CachedBlobs.fetch(`https://blobs.invalid${blobPath(blob)}`, { headers });
  const sliced = response.status === 206;
  // An answer of another kind than asked for is not used.
  if (response.body !== null && response.ok && sliced === (range !== null)) return response.body;
  await response.body?.cancel();
  return null;
}
