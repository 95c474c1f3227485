/** Blobs: end-2 and end-10. Distribution spec, "Pulling blobs" and "Deleting Blobs". */
import { answerWith, BLOB_TYPE, hasAlready, IMMUTABLE } from '../delivery/content.ts';
import { parseDigest } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import { hasArrived } from './containerd.ts';
import type { Exchange } from './exchange.ts';

/** Never redirected: clients read the size and the digest from this answer. */
export async function headBlob(exchange: Exchange): Promise<Response> {
  const digest = parseDigest(exchange.param('digest'));
  const { repository } = exchange;
  const blob = await repository.blob(digest).catch(async (error: unknown) => {
    const isMissing = error instanceof OciError && error.code === 'BLOB_UNKNOWN';
    if (!isMissing || !(await hasArrived(exchange, digest))) throw error;
    return repository.blob(digest);
  });
  return answerWith(exchange.request, { ...blob, mediaType: BLOB_TYPE, cacheControl: IMMUTABLE });
}

/** Redirects to the blob host, or sends the bytes. */
export async function getBlob(exchange: Exchange): Promise<Response> {
  const { request, services } = exchange;
  const blob = await exchange.repository.blob(parseDigest(exchange.param('digest')));
  const location = hasAlready(request, blob.digest) ? null : await services.delivery.locate(blob, request);
  if (location === null) {
    return answerWith(request, { ...blob, mediaType: BLOB_TYPE, cacheControl: IMMUTABLE });
  }
  return new Response(null, {
    status: 307,
    headers: {
      Location: location,
      'Docker-Content-Digest': blob.digest,
      // Every client with this URL gets the blob, so no cache may keep it.
      'Cache-Control': 'private, no-store',
      'Content-Length': '0',
    },
  });
}

export async function deleteBlob(exchange: Exchange): Promise<Response> {
  await exchange.repository.deleteBlob(parseDigest(exchange.param('digest')));
  return new Response(null, { status: 202 });
}
