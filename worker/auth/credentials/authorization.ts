/**
 * The Authorization header: Bearer tokens, and Basic credentials, which some clients send without a challenge (RFC
 * 7617).
 */

/** An Authorization header: Cloudflare takes 128 KB of headers in all. */
export const AUTHORIZATION_MAX_LENGTH = 32 * 1024;

export type Authorization =
  | { kind: 'bearer'; token: string }
  | { kind: 'basic'; name: string; password: string };

/** Null if there is no such header, or it cannot be parsed. */
export function authorizationOf(request: Request): Authorization | null {
  const header = request.headers.get('Authorization') ?? '';
  if (header.length > AUTHORIZATION_MAX_LENGTH) return null;
  const [, scheme, value] = /^(basic|bearer) +([^\s,]+)$/i.exec(header.trim()) ?? [];
  if (scheme === undefined || value === undefined) return null;
  return scheme.toLowerCase() === 'bearer' ? { kind: 'bearer', token: value } : basic(value);
}

function basic(encoded: string): Authorization | null {
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(encoded)) return null;
  const text = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon < 0 ? null : { kind: 'basic', name: text.slice(0, colon), password: text.slice(colon + 1) };
}
