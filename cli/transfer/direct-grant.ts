// What the registry allows a client to store in its bucket. worker/s3/direct-grants.ts makes it.
import { type Answer, readAll } from './http.ts';
import type { S3Credentials } from './sigv4.ts';

const GRANT_MAX_BYTES = 64 * 1024;
/** A grant that is about to end is renewed. */
const MARGIN_MS = 60_000;

interface Validity {
  /** How far the clock of the registry is ahead of this one, in ms. */
  readonly clockAheadMs: number;
  /** Unix time of this machine, ms. */
  readonly expiresAt: number;
}

/** One PUT of the whole content. */
export interface PutGrant extends Validity {
  readonly way: 'put';
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** The parts of a multipart upload. */
export interface PartsGrant extends Validity, S3Credentials {
  readonly way: 'parts';
  readonly url: string;
  readonly uploadId: string;
}

export type Grant = PutGrant | PartsGrant;

/**
 * The grant in an answer of the registry; null if there is none, or if this client does not understand it. Bytes of a push over https
 * are not sent over http.
 */
export async function grantIn(answer: Answer, origin: string): Promise<Grant | null> {
  const bytes = await readAll(answer, GRANT_MAX_BYTES);
  return isGranted(answer) ? grantOf(jsonOf(bytes.toString()), origin) : null;
}

export function isGranted(answer: Answer): boolean {
  return answer.header('Longshore-Direct') !== null;
}

/** The grant that a value is; null if this client does not understand it. */
export function grantOf(value: unknown, origin: string): Grant | null {
  const grant = parsed(Object(value) as Record<string, unknown>);
  if (grant === null || !URL.canParse(grant.url)) return null;
  const { protocol } = new URL(grant.url);
  return protocol === 'https:' || (protocol === 'http:' && origin.startsWith('http:')) ? grant : null;
}

export function isEnding({ expiresAt }: Grant): boolean {
  return Date.now() > expiresAt - MARGIN_MS;
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function parsed(value: Record<string, unknown>): Grant | null {
  const { way, url, headers, issuedAt, expiresAt } = value;
  if (typeof url !== 'string' || typeof issuedAt !== 'number' || typeof expiresAt !== 'number') return null;
  const valid = {
    clockAheadMs: issuedAt * 1000 - Date.now(),
    expiresAt: Date.now() + (expiresAt - issuedAt) * 1000,
  };
  if (way === 'put') {
    const isText = Object.values(headers ?? {}).every((header) => typeof header === 'string');
    return isText ? { way, url, headers: headers as Record<string, string>, ...valid } : null;
  }
  const { uploadId, accessKeyId, secretAccessKey, sessionToken } = value;
  if (way !== 'parts' || typeof uploadId !== 'string') return null;
  if (typeof accessKeyId !== 'string' || typeof secretAccessKey !== 'string') return null;
  if (typeof sessionToken !== 'string') return null;
  return { way, url, uploadId, accessKeyId, secretAccessKey, sessionToken, ...valid };
}
