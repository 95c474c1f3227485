/**
 * A sign-in that has begun: what the browser keeps while its user is with the issuer, in a cookie that is signed and that no
 * script reads. It binds the answer of the issuer to the browser that asked (RFC 9700, section 4.7).
 */
import { createHash, randomBytes } from 'node:crypto';
import { errors, jwtVerify, SignJWT } from 'jose';
import { SIGN_IN_LIFETIME_S } from '../../oci/limits.ts';

export interface Attempt {
  state: string;
  nonce: string;
  /** The secret of PKCE (RFC 7636). */
  verifier: string;
  /** Where the issuer sends the browser back to. */
  redirectUri: string;
}

const NAME = 'longshore-sign-in';
const TYPE = 'sign-in+jwt';
const ALGORITHM = 'HS256';

export function newAttempt(origin: string): Attempt {
  const [state, nonce, verifier] = [random(), random(), random()];
  return { state, nonce, verifier, redirectUri: `${origin}/auth/callback` };
}

/** The S256 challenge of RFC 7636, section 4.2. */
export function challengeOf({ verifier }: Attempt): string {
  return createHash('sha256').update(verifier).digest('base64url');
}

/** The value of `Set-Cookie`. */
export async function cookieOf(attempt: Attempt, key: CryptoKey, origin: string): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  const value = await new SignJWT({ ...attempt })
    .setProtectedHeader({ alg: ALGORITHM, typ: TYPE })
    .setAudience(origin)
    .setIssuedAt(now)
    .setExpirationTime(now + SIGN_IN_LIFETIME_S)
    .sign(key);
  return cookieText(NAME, origin, value, SIGN_IN_LIFETIME_S);
}

/** The value of `Set-Cookie` that takes it away. */
export function noCookie(origin: string): string {
  return cookieText(NAME, origin, '', 0);
}

/** Null where there is none, or it is not one of ours, or too old. */
export async function attemptOf(request: Request, key: CryptoKey, origin: string): Promise<Attempt | null> {
  const found = cookieIn(request, NAME, origin);
  if (found === null) return null;
  try {
    const { payload } = await jwtVerify<Attempt>(found, key, {
      algorithms: [ALGORITHM],
      typ: TYPE,
      audience: origin,
      requiredClaims: ['exp', 'state', 'nonce', 'verifier', 'redirectUri'],
      currentDate: new Date(Date.now()),
    });
    return payload;
  } catch (fault) {
    if (fault instanceof errors.JOSEError) return null;
    throw fault;
  }
}

/** The value of a cookie of ours; null for none. */
export function cookieIn(request: Request, name: string, origin: string): string | null {
  const start = `${nameFor(name, origin)}=`;
  const found = (request.headers.get('Cookie') ?? '').split(/;\s*/).find((pair) => pair.startsWith(start));
  return found?.slice(start.length) ?? null;
}

/** The value of `Set-Cookie`. Lax, since the browser comes back from another site. */
export function cookieText(name: string, origin: string, value: string, maxAge: number): string {
  const secure = origin.startsWith('https:') ? '; Secure' : '';
  return `${nameFor(name, origin)}=${value}; Path=/; HttpOnly; SameSite=Lax; Max-Age=${maxAge}${secure}`;
}

/** With the prefix, browsers let no neighbouring host set it (RFC 6265bis, section 4.1.3); it needs https. */
function nameFor(name: string, origin: string): string {
  return `${origin.startsWith('https:') ? '__Host-' : ''}${name}`;
}

function random(): string {
  return randomBytes(32).toString('base64url');
}
