/**
 * The tokens that the registry issues. Access tokens are JWTs in the form of the Docker token specification; they
 * contain what their holder may do. Login tokens replace a password for an hour. They differ in `typ`, so neither is
 * accepted as the other.
 */
import { type JWTPayload, jwtVerify, SignJWT } from 'jose';
import type { Access, Denial } from '../../access/decide.ts';
import type { Rule } from '../../access/model.ts';
import { CountedCache, memory } from '../../memory/budget.ts';
import { CLOCK_SKEW_S, UPLOAD_LIFETIME_MS } from '../../oci/limits.ts';
import type { Pattern } from '../../oci/pattern.ts';
import { ALGORITHM, type KeyRing } from './key-ring.ts';

/** The lifetime of a login token, in seconds. */
const LOGIN_TOKEN_LIFETIME_S = 3600;
/**
 * The maximum length of the claims with the patterns for mounts without a source. Longer claims leave these patterns
 * out, because some proxies accept only 8 KB.
 */
const TOKEN_PAYLOAD_MAX_LENGTH = 4000;
/** Verified tokens that an isolate remembers. A token has about 1,000 characters, and at most 16,000. */
const ACCESS_TOKENS_REMEMBERED = 5000;
const ACCESS_TOKENS_REMEMBERED_BYTES = 12 * 1024 * 1024;

/** The claims of an access token. */
export interface Claims {
  /** The subject, as in `Identity`. */
  subject: string;
  access: Access[];
  denials: Denial[];
  /** See `pullPatterns`. */
  pulls: Pattern[][] | null;
  catalog: boolean;
  /** The revision of the identity. The token is revoked if its subject has a later revision. */
  revision: number;
  /** Unix time, s. */
  expiresAt: number;
}

/** The claims of a login token: the subject, the trusts that accepted it, and its rules. */
export interface Login {
  subject: string;
  trust: string;
  rules: Rule[];
}

/** What the claims of a token cost in memory, in bytes for each character of it. */
const CLAIMS_BYTES = 4;

const ACCESS = 'JWT';
const LOGIN = 'login+jwt';

export class AccessTokens {
  readonly #keys: KeyRing;
  readonly #lifetime: number;
  /** Tokens whose signature this isolate has verified. */
  readonly #verified = new CountedCache<{ claims: Claims; audience: string }>(memory, {
    entries: ACCESS_TOKENS_REMEMBERED,
    bytes: ACCESS_TOKENS_REMEMBERED_BYTES,
  });

  /** `lifetime` in seconds. */
  constructor(keys: KeyRing, lifetime: number) {
    this.#keys = keys;
    this.#lifetime = lifetime;
    keys.onChange(() => this.#verified.clear());
  }

  /** Issues an access token. `origin` is the URL of the registry, and its host is the audience. */
  async issue(
    claims: Omit<Claims, 'expiresAt'>,
    origin: string,
  ): Promise<{ token: string; lifetime: number; issuedAt: number }> {
    const { subject, access, denials, pulls, catalog, revision } = claims;
    const registry = catalog ? [{ type: 'registry', name: 'catalog', actions: ['*'] }] : [];
    const named = { access: [...access, ...registry], denials, revision };
    const fits = pulls !== null && JSON.stringify([named, pulls]).length <= TOKEN_PAYLOAD_MAX_LENGTH;
    const payload = { ...named, ...(fits ? { pulls } : {}) };
    const issuedAt = Math.floor(Date.now() / 1000);
    const token = await this.#sign(ACCESS, subject, payload, origin, issuedAt, this.#lifetime);
    return { token, lifetime: this.#lifetime, issuedAt };
  }

  /**
   * The claims of an access token of this registry. A token that expired is also accepted for the life of an upload, so
   * the caller checks `expiresAt`. Null for any other token.
   */
  async verify(token: string, origin: string): Promise<Claims | null> {
    const audience = new URL(origin).host;
    const known = this.#verified.get(token);
    if (known !== undefined) return known.audience === audience ? known.claims : null;
    const payload = await this.#open(token, ACCESS, audience, UPLOAD_LIFETIME_MS / 1000);
    if (payload === null) return null;
    const { sub, exp, access, denials, pulls, revision } = payload as JWTPayload & Partial<Claims>;
    if (sub === undefined || exp === undefined || access === undefined) return null;
    const repositories = access.filter(({ type }) => type === 'repository');
    const claims: Claims = {
      subject: sub,
      access: repositories,
      denials: denials ?? [],
      pulls: pulls ?? null,
      catalog: repositories.length < access.length,
      revision: revision ?? 0,
      expiresAt: exp,
    };
    this.#verified.set(token, { claims, audience }, CLAIMS_BYTES * token.length);
    return claims;
  }

  async issueLogin(
    { subject, trust, rules }: Login,
    origin: string,
  ): Promise<{ token: string; lifetime: number }> {
    const now = Math.floor(Date.now() / 1000);
    const token = await this.#sign(LOGIN, subject, { trust, rules }, origin, now, LOGIN_TOKEN_LIFETIME_S);
    return { token, lifetime: LOGIN_TOKEN_LIFETIME_S };
  }

  /** The claims of a login token of this registry. Null for any other token, and for one that has expired. */
  async verifyLogin(token: string, origin: string): Promise<Login | null> {
    const payload = await this.#open(token, LOGIN, new URL(origin).host, 0);
    if (payload === null) return null;
    const { sub, trust, rules } = payload as JWTPayload & Login;
    return sub === undefined ? null : { subject: sub, trust, rules };
  }

  #sign(
    typ: string,
    subject: string,
    payload: Record<string, unknown>,
    origin: string,
    issuedAt: number,
    lifetime: number,
  ): Promise<string> {
    return this.#keys.signing().then(({ kid, key }) =>
      new SignJWT(payload)
        .setProtectedHeader({ alg: ALGORITHM, kid, typ })
        .setIssuer(origin)
        .setSubject(subject)
        .setAudience(new URL(origin).host)
        .setIssuedAt(issuedAt)
        .setNotBefore(issuedAt)
        .setExpirationTime(issuedAt + lifetime)
        .setJti(crypto.randomUUID())
        .sign(key),
    );
  }

  /** `grace` is how long ago the token may have expired, in seconds. */
  async #open(token: string, typ: string, audience: string, grace: number): Promise<JWTPayload | null> {
    const unknown = new Error('no such key');
    try {
      const { payload } = await jwtVerify(
        token,
        async ({ kid }) => {
          const key = kid === undefined ? null : await this.#keys.verifying(kid);
          if (key === null) throw unknown;
          return key;
        },
        {
          algorithms: [ALGORITHM],
          typ,
          audience,
          requiredClaims: ['sub', 'exp', 'iat', 'jti'],
          clockTolerance: grace + CLOCK_SKEW_S,
          currentDate: new Date(Date.now()),
        },
      );
      return (payload.iat ?? 0) <= Date.now() / 1000 + CLOCK_SKEW_S ? payload : null;
    } catch (error) {
      // An error of `Accounts` does not make the token invalid.
      if (error === unknown || (error instanceof Error && 'code' in error)) return null;
      throw error;
    }
  }
}
