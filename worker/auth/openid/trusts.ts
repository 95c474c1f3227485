/**
 * Verifies tokens of trusted OpenID Connect issuers: the workload identity of CI systems and clusters. OpenID Connect
 * Core, section 3.1.3.7; RFC 8725.
 */

import { createLocalJWKSet, decodeJwt, type JWTVerifyGetKey } from 'jose';
import QuickLRU from 'quick-lru';
import type { Rule, Trust } from '../../access/model.ts';
import { OciError } from '../../oci/errors.ts';
import { sha256 } from '../../oci/secret.ts';
import { AUTHORIZATION_MAX_LENGTH } from '../credentials/authorization.ts';
import type { Login } from '../tokens/access-tokens.ts';
import { ASSERTION_MAX_AGE_S, type Assertion, refused, verifyAssertion } from './assertion.ts';
import type { Issuers } from './issuer.ts';
import { ISSUERS_REMEMBERED } from './issuer.ts';
import { type FilledGrant, filledGrants, unmet } from './trust-claims.ts';

/** A login by a token. `trust` contains the ids of all trusts that accepted it, separated by spaces. */
export interface TrustedLogin extends Login {
  /** Identifies the token: its `jti`, or a hash. */
  id: string;
  /** Unix time, ms. */
  expiresAt: number;
}

/**
 * The refusal of a token. The message does not say which issuers are trusted under which conditions: only admins may
 * know.
 */
export class TrustRefusal extends OciError {
  /** The reason, for the audit log. */
  readonly reason: string;

  constructor(reason: string) {
    super('UNAUTHORIZED', {
      message: 'no trust of this registry accepts this token: ask an admin, whose audit log says why',
    });
    this.reason = reason;
  }
}

const ID_MAX_LENGTH = 128;
const SUBJECT_MAX_LENGTH = 200;

export class Trusts {
  readonly #issuers: Issuers;
  /** Key sets that are stored with a trust, by their text. */
  readonly #keySets = new QuickLRU<string, JWTVerifyGetKey>({ maxSize: ISSUERS_REMEMBERED });

  constructor(issuers: Issuers) {
    this.#issuers = issuers;
  }

  /**
   * Verifies a token with the trusts in its issuer. All trusts that accept it give their rules together.
   *
   * Throws UNAUTHORIZED, which says why no trust accepts it.
   * Throws UNAVAILABLE if the issuer does not answer.
   */
  async verify(assertion: string, trusts: Trust[]): Promise<TrustedLogin> {
    const issuer = issuerOf(assertion);
    const asked = trusts.filter((trust) => trust.issuer === issuer);
    if (asked.length === 0) throw refused('its issuer is not trusted here');
    // Trusts with the same keys share one verification.
    const verified = new Map<string | null, Promise<Assertion>>();
    const outcomes: Outcome[] = [];
    for (const trust of asked) {
      const claims = verified.get(trust.jwks) ?? this.#verify(assertion, trust);
      verified.set(trust.jwks, claims);
      outcomes.push(await outcomeOf(trust, claims));
    }
    return loginOf(assertion, outcomes);
  }

  async #verify(assertion: string, { issuer, jwks }: Trust): Promise<Assertion> {
    const key = jwks === null ? this.#issuers.get(issuer).key : this.#keySet(jwks);
    return verifyAssertion(assertion, issuer, key);
  }

  #keySet(text: string): JWTVerifyGetKey {
    const known = this.#keySets.get(text);
    if (known !== undefined) return known;
    try {
      const keySet = createLocalJWKSet(JSON.parse(text));
      this.#keySets.set(text, keySet);
      return keySet;
    } catch {
      throw new OciError('UNAVAILABLE', { message: 'the key set of a trust cannot be read' });
    }
  }
}

/** The claimed issuer of a JWT, not verified. Null for any other text. */
export function issuerOf(text: string): string | null {
  if (text.length > AUTHORIZATION_MAX_LENGTH || !/^[\w-]+\.[\w-]+\.[\w-]*$/.test(text)) return null;
  try {
    const { iss } = decodeJwt(text);
    return typeof iss === 'string' && iss !== '' ? iss : null;
  } catch {
    return null;
  }
}

type Outcome = { trust: Trust } & ({ claims: Assertion; rules: Rule[] } | { error: OciError });

async function outcomeOf(trust: Trust, verified: Promise<Assertion>): Promise<Outcome> {
  try {
    const claims = await verified;
    const why = unmet(trust, claims);
    if (why !== null) throw refused(`${why} (trust ${trust.name})`);
    return { trust, claims, rules: rulesOf(trust, claims) };
  } catch (error) {
    if (error instanceof OciError) return { trust, error };
    throw error;
  }
}

/** The rules that a trust gives for the claims. Throws UNAUTHORIZED if no grant can be filled. */
function rulesOf(trust: Trust, claims: Assertion): Rule[] {
  const grants = filledGrants(trust, claims);
  const rules = grants.flatMap((one) => ('rule' in one ? [one.rule] : []));
  if (rules.length === 0) throw refused(givesNothing(trust, grants));
  return rules;
}

/** Why a trust of which no grant could be filled refuses a token. */
export function givesNothing({ name }: Trust, grants: FilledGrant[]): string {
  const [first] = grants.flatMap((one) => ('why' in one ? [one.why] : []));
  return `the trust ${name} gives it nothing: ${first ?? 'it has no grants'}`;
}

function loginOf(assertion: string, outcomes: Outcome[]): TrustedLogin {
  const holding = outcomes.filter((outcome) => 'claims' in outcome);
  const [first] = holding;
  if (first === undefined) throw refusalOf(outcomes.flatMap((one) => ('error' in one ? [one.error] : [])));
  const { trust, claims } = first;
  return {
    subject: subjectOf(trust, claims.sub),
    trust: holding.map((outcome) => outcome.trust.id).join(' '),
    rules: holding.flatMap(({ rules }) => rules),
    id: idOf(assertion, claims),
    expiresAt: Math.min(claims.exp, claims.iat + ASSERTION_MAX_AGE_S) * 1000,
  };
}

/** An issuer that does not answer might accept the token, so this is not a refusal. */
function refusalOf(errors: OciError[]): OciError {
  const unavailable = errors.find(({ code }) => code !== 'UNAUTHORIZED');
  const [first] = errors;
  if (unavailable !== undefined || first === undefined) return unavailable ?? refused('no trust accepts it');
  const messages = [...new Set(errors.map(({ message }) => message))];
  return new OciError('UNAUTHORIZED', { message: messages.slice(0, 5).join('; ') });
}

/** The hash does not include the signature: with some algorithms any client can change it into another valid one. */
function idOf(assertion: string, { jti }: Assertion): string {
  if (typeof jti === 'string' && jti !== '' && jti.length <= ID_MAX_LENGTH) return jti;
  return `sha256:${sha256(assertion.slice(0, assertion.lastIndexOf('.')))}`;
}

/** The subject of a login. A long one is shortened, and a hash of the whole keeps it apart from others. */
export function subjectOf({ name }: Trust, sub: string): string {
  const subject = `trust:${name}:${sub}`;
  const text = subject.replace(/[^\x20-\x7e]/g, '?');
  if (text === subject && text.length <= SUBJECT_MAX_LENGTH) return text;
  return `${text.slice(0, SUBJECT_MAX_LENGTH - 17)}~${sha256(subject).slice(0, 16)}`;
}
