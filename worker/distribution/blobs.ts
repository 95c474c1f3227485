/** Blobs: end-2 and end-10. Distribution spec, "Pulling blobs" and "Deleting Blobs". */
import { parseDigest } from '../oci/digest.ts';
import { lengthOf, parseRange } from '../oci/range.ts';
import { contentHeaders, type Exchange, notModified } from './exchange.ts';

const BLOB_TYPE = 'application/octet-stream';

export async function headBlob(exchange: Exchange): Promise<Response> {
  const digest = parseDigest(exchange.param('digest'));
  const { size } = await exchange.repository.headBlob(digest);
  const headers = contentHeaders(digest, BLOB_TYPE);
  if (exchange.hasAlready(digest)) return notModified(headers);
  return new Response(null, { headers: { ...headers, 'Content-Length': String(size) } });
}

export async function getBlob(exchange: Exchange): Promise<Response> {
  const digest = parseDigest(exchange.param('digest'));
  const headers = contentHeaders(digest, BLOB_TYPE);
  if (exchange.hasAlready(digest)) {
    await exchange.repository.headBlob(digest);
    return notModified(headers);
  }
  const { size, range, body } = await exchange.repository.getBlob(
    digest,
    parseRange(exchange.rangeOf(digest)),
  );
  if (range === null) return new Response(body, { headers: { ...headers, 'Content-Length': String(size) } });
  return new Response(body, {
    status: 206,
    headers: {
      ...headers,
      'Content-Length': String(lengthOf(range)),
      'Content-Range': `bytes ${range.first}-${range.last}/${size}`,
    },
  });
}

export async function deleteBlob(exchange: Exchange): Promise<Response> {
  await exchange.repository.deleteBlob(parseDigest(exchange.param('digest')));
  return new Response(null, { status: 202 });
}
