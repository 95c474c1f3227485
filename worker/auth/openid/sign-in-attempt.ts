/**
 * A sign-in in progress, which the browser keeps in a signed cookie while the person is at the issuer. It binds the answer of the
 * issuer to the browser that asked (RFC 9700, section 4.7).
 */
import { errors, jwtVerify, SignJWT } from 'jose';
import { generateRandomCodeVerifier, generateRandomNonce, generateRandomState } from 'oauth4webapi';
import { cookieIn, cookieText } from './sign-in-cookie.ts';

/** From the page of the issuer, a person is back within this time. */
export const SIGN_IN_LIFETIME_S = 10 * 60;

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
  return {
    state: generateRandomState(),
    nonce: generateRandomNonce(),
    verifier: generateRandomCodeVerifier(),
    redirectUri: `${origin}/auth/callback`,
  };
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

/** The value of `Set-Cookie` that deletes the cookie. */
export function noCookie(origin: string): string {
  return cookieText(NAME, origin, '', 0);
}

/** The sign-in of the browser. Null without a cookie, and for one that is forged or has expired. */
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
  } catch (error) {
    if (error instanceof errors.JOSEError) return null;
    throw error;
  }
}
