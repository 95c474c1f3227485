/** A client that stores bytes in the double of S3, by the grants of the registry. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { signed } from '../../cli/transfer/sigv4.ts';
import type { PartsGrant, PutGrant } from '../../worker/s3/direct-grants.ts';
import { digest as digestOf } from '../support/fixtures.ts';
import { type Answer, send } from '../support/http.ts';
import { type Client, locationOf } from './client.ts';

export const S3_CREDENTIALS = { accessKeyId: '0123456789abcdef', secretAccessKey: 'a secret for this test' };

export interface Granted<Grant> {
  location: string;
  grant: Grant;
}

interface Announced {
  digest?: string;
  size?: number;
  parts?: boolean;
}

export function announcement(bytes: Uint8Array, announced: Announced = {}): Record<string, string> {
  const { digest = digestOf(bytes), size = bytes.length, parts = false } = announced;
  return { 'Longshore-Direct': `${digest}; size=${size}${parts ? '; parts' : ''}` };
}

export async function grantedPut(
  client: Client,
  repository: string,
  bytes: Uint8Array,
  announced: Announced = {},
): Promise<Granted<PutGrant>> {
  return granted<PutGrant>(client, repository, announcement(bytes, announced), 'put');
}

export async function grantedParts(
  client: Client,
  repository: string,
  bytes: Uint8Array,
  announced: Announced = {},
): Promise<Granted<PartsGrant>> {
  return granted<PartsGrant>(client, repository, announcement(bytes, { ...announced, parts: true }), 'parts');
}

async function granted<Grant extends { way: string }>(
  client: Client,
  repository: string,
  headers: Record<string, string>,
  way: string,
): Promise<Granted<Grant>> {
  const answer = await client.want(202, 'POST', `/v2/${repository}/blobs/uploads/`, { headers });
  assert.equal(answer.headers['longshore-direct'], way);
  assert.equal(answer.headers['cache-control'], 'no-store');
  const grant = JSON.parse(answer.body.toString()) as Grant;
  assert.equal(grant.way, way);
  return { location: locationOf(answer), grant };
}

/** The status and the code of the answer, such as "400 BadDigest". */
export async function put(
  { url, headers }: PutGrant,
  bytes: Uint8Array,
  more: Record<string, string> = {},
): Promise<string> {
  const { origin, pathname, search } = new URL(url);
  const sent = { headers: { ...headers, ...more }, body: bytes };
  return outcomeOf(await send(origin, 'PUT', pathname + search, sent));
}

/** Any request with the credentials of a grant. */
export async function withGrant(
  grant: PartsGrant,
  method: string,
  query: Record<string, string>,
  {
    body,
    headers = {},
    key,
  }: { body?: Uint8Array | string; headers?: Record<string, string>; key?: string } = {},
): Promise<{ outcome: string; answer: Answer }> {
  const url = new URL(grant.url);
  if (key !== undefined) url.pathname = url.pathname.replace(/blobs\/.*/, key);
  url.search = String(new URLSearchParams(query));
  const all = signed({ method, url, headers }, grant, { at: new Date() });
  const answer = await send(url.origin, method, url.pathname + url.search, {
    headers: all,
    ...(body === undefined ? {} : { body }),
  });
  return { outcome: outcomeOf(answer), answer };
}

export async function putPart(grant: PartsGrant, number: number, bytes: Uint8Array): Promise<string> {
  const headers = { 'content-md5': createHash('md5').update(bytes).digest('base64') };
  const query = { partNumber: String(number), uploadId: grant.uploadId };
  const { outcome, answer } = await withGrant(grant, 'PUT', query, { body: bytes, headers });
  assert.equal(outcome, '200');
  return String(answer.headers.etag);
}

/** Stores all bytes in parts of this size. */
export async function putParts(grant: PartsGrant, bytes: Uint8Array, partBytes: number): Promise<void> {
  const etags: string[] = [];
  for (let at = 0; at < bytes.length; at += partBytes)
    etags.push(await putPart(grant, etags.length + 1, bytes.subarray(at, at + partBytes)));
  assert.equal(await complete(grant, etags), '200');
}

export async function complete(grant: PartsGrant, etags: string[]): Promise<string> {
  const parts = etags.map(
    (etag, at) => `<Part><PartNumber>${at + 1}</PartNumber><ETag>${etag}</ETag></Part>`,
  );
  const body = `<CompleteMultipartUpload>${parts.join('')}</CompleteMultipartUpload>`;
  return (await withGrant(grant, 'POST', { uploadId: grant.uploadId }, { body })).outcome;
}

function outcomeOf({ status, body }: Answer): string {
  const [, code = ''] = /<Code>(\w+)<\/Code>/.exec(body.toString()) ?? [];
  return `${status} ${code}`.trim();
}
