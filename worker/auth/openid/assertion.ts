/**
 * Verifies a token of an OpenID Connect issuer: its signature, issuer and times. The caller checks the audience and the
 * other claims. OpenID Connect Core, section 3.1.3.7; RFC 8725.
 */
import { errors, type JWTPayload, type JWTVerifyGetKey, jwtVerify, UnsecuredJWT } from 'jose';
import { OciError } from '../../oci/errors.ts';
import { CLOCK_SKEW_S } from '../../oci/limits.ts';

/** A token of a trusted issuer is taken for so long from when it was issued, however late it says that it ends. */
export const ASSERTION_MAX_AGE_S = 24 * 3600;

/** Only algorithms with a public key: with a shared secret, or without a signature, any client could make a token. */
export const ALGORITHMS = [
  ...['RS256', 'RS384', 'RS512'],
  ...['PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512'],
  ...['EdDSA', 'Ed25519'],
];

/** The types of ID tokens and access tokens (RFC 9068). An issuer also signs tokens for other purposes, such as logouts. */
const TYPES = /^(?:application\/)?(?:jwt|at\+jwt)$/i;

const CLAIM_CHECKS = {
  requiredClaims: ['sub', 'aud', 'exp', 'iat'],
  maxTokenAge: ASSERTION_MAX_AGE_S,
  clockTolerance: CLOCK_SKEW_S,
};

export type Assertion = JWTPayload & { iss: string; sub: string; exp: number; iat: number };

/** Throws UNAUTHORIZED with what is wrong, and what `key` throws. */
export async function verifyAssertion(
  token: string,
  issuer: string,
  key: JWTVerifyGetKey,
): Promise<Assertion> {
  try {
    const { payload, protectedHeader } = await jwtVerify(token, key, {
      algorithms: ALGORITHMS,
      issuer,
      ...CLAIM_CHECKS,
      currentDate: new Date(Date.now()),
    });
    const { typ } = protectedHeader;
    if (typ !== undefined && !TYPES.test(typ))
      throw refused('its type (typ) is not that of an ID token or access token');
    if (!isSubject(payload.sub)) throw refused(NO_SUBJECT);
    return payload as Assertion;
  } catch (error) {
    if (error instanceof OciError) throw error;
    throw isOfToken(error) ? refused(inWords(error)) : error;
  }
}

/**
 * Why `verifyAssertion` would refuse these claims at a time; empty if it would not. The signature is not checked, so the
 * result is only for explanations.
 */
export function claimProblems(claims: JWTPayload, at: Date): string[] {
  const names = ['iss', ...CLAIM_CHECKS.requiredClaims];
  const missing = names.filter((name) => !Object.hasOwn(claims, name));
  if (missing.length > 0) return missing.map((name) => `it lacks the claim ${name}`);
  if (typeof claims.iss !== 'string') return ['its claim iss is not a text'];
  if (!isSubject(claims.sub)) return [NO_SUBJECT];
  try {
    UnsecuredJWT.decode(new UnsecuredJWT(claims).encode(), { ...CLAIM_CHECKS, currentDate: at });
    return [];
  } catch (error) {
    if (isOfToken(error)) return [inWords(error)];
    throw error;
  }
}

const NO_SUBJECT = 'its claim sub is not a text';

function isSubject(sub: unknown): sub is string {
  return typeof sub === 'string' && sub !== '';
}

/** The error for a token that is refused. */
export function refused(why: string): OciError {
  return new OciError('UNAUTHORIZED', { message: `the token is refused: ${why}` });
}

/** Whether an error is about the token. The cryptography throws its own errors for keys that are malformed or too short. */
function isOfToken(error: unknown): boolean {
  return error instanceof errors.JOSEError || error instanceof TypeError || error instanceof DOMException;
}

function inWords(error: unknown): string {
  if (error instanceof errors.JWTExpired) {
    return error.claim === 'exp' ? 'it has expired (exp)' : 'it was issued too long ago (iat)';
  }
  if (error instanceof errors.JWTClaimValidationFailed) {
    if (error.reason === 'missing') return `it lacks the claim ${error.claim}`;
    if (error.claim === 'nbf' || error.claim === 'iat') return `it is not valid yet (${error.claim})`;
    return `its claim ${error.claim} is not what it must be`;
  }
  if (error instanceof errors.JOSEAlgNotAllowed) {
    return `its algorithm is not one of (${ALGORITHMS.join(', ')})`;
  }
  if (error instanceof errors.JWKSNoMatchingKey) return 'its issuer has no key that it could be signed with';
  if (error instanceof errors.JWKSMultipleMatchingKeys)
    return 'it does not say by which key it is signed (kid)';
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'its signature is not by its issuer';
  return 'it cannot be verified';
}
