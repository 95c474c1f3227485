/**
 * The signature of a request to S3, as the receiver computes it. It shares no code with what signs requests, so that an error there is
 * not repeated here. S3 API, "Authenticating Requests (AWS Signature Version 4)".
 */
import { createHash, createHmac } from 'node:crypto';

export interface SignedRequest {
  method: string;
  /** As in the request line, without the query. */
  path: string;
  /** As in the request line, without the question mark. */
  query: string;
  /** By lowercase name. */
  headers: Record<string, string | undefined>;
}

export interface Signing {
  /** `20130524T000000Z`. */
  date: string;
  /** `20130524/us-east-1/s3/aws4_request`. */
  scope: string;
  /** Lowercase names, as they were sent. */
  signedHeaders: string[];
  /** The SHA-256 of the body in hexadecimal, or `UNSIGNED-PAYLOAD`. */
  payload: string;
  secretAccessKey: string;
}

export function signatureOf(request: SignedRequest, signing: Signing): string {
  const text = [
    'AWS4-HMAC-SHA256',
    signing.date,
    signing.scope,
    sha256(canonicalRequest(request, signing)),
  ].join('\n');
  let key: Buffer = Buffer.from(`AWS4${signing.secretAccessKey}`);
  for (const part of signing.scope.split('/')) key = hmac(key, part);
  return hmac(key, text).toString('hex');
}

export function canonicalRequest(
  { method, path, query, headers }: SignedRequest,
  { signedHeaders, payload }: Signing,
): string {
  return [
    method,
    encoded(decodeURIComponent(path), true),
    canonicalQuery(query),
    ...signedHeaders.map((name) => `${name}:${(headers[name] ?? '').trim().replace(/ +/g, ' ')}`),
    '',
    signedHeaders.join(';'),
    payload,
  ].join('\n');
}

/** Without the signature itself, sorted by the encoded names. */
function canonicalQuery(query: string): string {
  return query
    .split('&')
    .filter((pair) => pair !== '' && !pair.startsWith('X-Amz-Signature='))
    .map((pair) => {
      const [name = '', ...value] = pair.split('=');
      return [name, value.join('=')].map((text) => encoded(decodeURIComponent(text), false)) as [
        string,
        string,
      ];
    })
    .sort(([one, first], [other, second]) => compare(one, other) || compare(first, second))
    .map(([name, value]) => `${name}=${value}`)
    .join('&');
}

/** Every byte but the unreserved characters of RFC 3986. */
function encoded(text: string, isPath: boolean): string {
  return [...Buffer.from(text)]
    .map((byte) => {
      const character = String.fromCharCode(byte);
      if (/[A-Za-z0-9\-._~]/.test(character) || (isPath && character === '/')) return character;
      return `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
    })
    .join('');
}

function compare(one: string, other: string): number {
  return one < other ? -1 : Number(one > other);
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}
