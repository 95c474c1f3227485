/**
 * Uploads past the Worker, which are an extension of `longshore push`: the POST says what is to be stored, and the answer has a grant
 * for the store. Other clients do not send the header, and other registries ignore it. docs/direct-uploads.md.
 */
import { type Digest, isDigest } from '../oci/digest.ts';
import type { DirectRequest, Upload } from '../oci/registry.ts';
import { type DirectGrant, type DirectGrants, isChecksum } from '../s3/direct-grants.ts';
import type { Exchange } from './exchange.ts';

/** `<digest>; size=<bytes>`, and `; parts` for a multipart upload. In the answer: the way of the grant. */
const DIRECT_HEADER = 'Longshore-Direct';
const DIRECT = /^(\S+); size=([1-9]\d{0,14})(; parts)?$/;

export interface AnnouncedBlob extends DirectRequest {
  digest: Digest;
}

/** What the request announces; null if it does not, or if it cannot be stored past the Worker. */
export function announcedBlob(exchange: Exchange): AnnouncedBlob | null {
  const [, digest = '', size, parts] = DIRECT.exec(exchange.header(DIRECT_HEADER) ?? '') ?? [];
  if (exchange.services.direct === null || !isDigest(digest) || !isChecksum(digest)) return null;
  return { digest, size: Number(size), inParts: parts !== undefined };
}

/** The grant for an upload that has just begun; null if the registry takes the bytes itself. */
export async function grantFor(
  grants: DirectGrants | null,
  upload: Upload,
  { digest }: AnnouncedBlob,
): Promise<DirectGrant | null> {
  const place = grants === null ? null : await upload.direct();
  if (grants === null || place === null) return null;
  const { key, multipart } = place;
  return multipart === null ? grants.put(key, digest) : grants.parts(key, multipart);
}

/**
 * A new grant for an upload in parts; null for others. One PUT gets a single grant, so that only one content can ever be stored under
 * the key.
 */
export async function renewedGrant(grants: DirectGrants | null, upload: Upload): Promise<DirectGrant | null> {
  const place = grants === null ? null : await upload.direct();
  if (grants === null || place === null || place.multipart === null) return null;
  return grants.parts(place.key, place.multipart);
}

/** The answer with a grant. */
export function withGrant(grant: DirectGrant, status: number, headers: Record<string, string>): Response {
  const { 'Content-Length': _empty, ...others } = headers;
  return Response.json(grant, {
    status,
    headers: { ...others, [DIRECT_HEADER]: grant.way, 'Cache-Control': 'no-store' },
  });
}
