/**
 * Temporary credentials of the bucket, made without a call: a JWT that is signed with the secret of the registry's own credentials.
 * Cloudflare docs, "R2: Temporary credentials", "Locally (client-side signing)".
 */
import { SignJWT } from 'jose';
import type { S3Bucket } from '../settings.ts';

/** Operations of S3 that credentials can be limited to. */
export type S3Action = 'UploadPart' | 'ListParts' | 'CompleteMultipartUpload';

export interface TemporaryCredentials {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken: string;
}

/** Credentials for these operations on one key, from `issuedAt` until `expiresAt` (Unix time, s). */
export async function temporaryCredentials(
  { url, accessKeyId, secretAccessKey }: S3Bucket,
  {
    key,
    actions,
    issuedAt,
    expiresAt,
  }: { key: string; actions: S3Action[]; issuedAt: number; expiresAt: number },
): Promise<TemporaryCredentials> {
  const { host, hostname, pathname } = new URL(url);
  const [account = ''] = hostname.split('.');
  // No `scope`: it would be a preset of more operations.
  const claims = {
    bucket: pathname.slice(pathname.lastIndexOf('/') + 1),
    actions,
    paths: { prefixPaths: [], objectPaths: [key] },
  };
  const jwt = await new SignJWT(claims)
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .setSubject(account)
    .setIssuer(accessKeyId)
    .setAudience(host)
    .setIssuedAt(issuedAt)
    .setExpirationTime(expiresAt)
    .sign(new TextEncoder().encode(secretAccessKey));
  const secret = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(jwt)));
  return { accessKeyId, secretAccessKey: hexOf(secret), sessionToken: btoa(`jwt/${jwt}`) };
}

function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
