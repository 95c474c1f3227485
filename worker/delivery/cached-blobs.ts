/**
 * The inner entrypoint that Cloudflare's Workers Cache stands before, so that a blob is read from R2 once a region. It
 * answers without asking who is there: it has no route, and only the blob host calls it, after the signature was checked
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

/** What the cache may keep: the platform slices what it keeps, so this always answers with the whole. */
const CACHEABLE = 'public, max-age=31536000, immutable, no-transform';

export class CachedBlobs extends WorkerEntrypoint<Env> {
  override async fetch(request: Request): Promise<Response> {
    const blob = parseBlobPath(new URL(request.url).pathname);
    if (blob === null) return new Response(null, { status: 404 });
    const read = (range: ByteRange | null) => readBlob(this.env, blob, range);
    try {
      return await answerWith(request, { ...blob, mediaType: BLOB_TYPE, cacheControl: CACHEABLE, read });
    } catch (error) {
      // The blob host asks the store itself, and says what is wrong.
      if (error instanceof OciError) return new Response(null, { status: error.status });
      throw error;
    }
  }
}

/**
 * The bytes of a blob, or a range of them, through the cache; null where it has none. The local runtimes have no cache, and
 * then this is the bucket.
 */
export async function cachedBlob(
  blob: StoredBlob,
  range: ByteRange | null,
): Promise<ReadableStream<Uint8Array> | null> {
  if (blob.size > CACHED_BLOB_MAX_BYTES) return null;
  const inner = (exports as unknown as { CachedBlobs: Fetcher }).CachedBlobs;
  const headers = range === null ? {} : { Range: `bytes=${range.first}-${range.last}` };
  const response = await inner.fetch(`https://blobs.invalid${blobPath(blob)}`, { headers });
  const sliced = response.status === 206;
  // What is not what was asked for is read from the bucket instead.
  if (response.body !== null && response.ok && sliced === (range !== null)) return response.body;
  await response.body?.cancel();
  return null;
}
