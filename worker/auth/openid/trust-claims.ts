/**
 * Matches the claims of a token with a trust, and fills its templates with them. A claim is named directly, or by a
 * path to a claim inside another: `kubernetes.io/namespace`. Conditions are patterns, as for repositories: `*` stops at
 * a slash, `**` does not.
 */

import type { Rule, Trust } from '../../access/model.ts';
import { isPattern, matches, type Pattern } from '../../oci/pattern.ts';

/** A claim that is longer meets no condition. */
const CLAIM_MAX_LENGTH = 1024;

export type Claims = Record<string, unknown>;

/** One condition of a trust. */
export interface Condition {
  claim: string;
  /** The value or the pattern that the claim must match. */
  wanted: string;
  /** The values of the claim. */
  values: string[];
  /** Why the claims do not meet it; null if they do. */
  why: string | null;
}

/** Why claims do not meet a trust; null if they do. */
export function unmet(trust: Trust, claims: Claims): string | null {
  const [audience, ...others] = conditionsOf(trust, claims);
  if (audience !== undefined && audience.why !== null) return audience.why;
  // An issuer signs tokens for all its customers.
  if (others.length === 0) return 'the trust has no conditions (sub: ** accepts everyone of the issuer)';
  return others.find(({ why }) => why !== null)?.why ?? null;
}

/** The conditions of a trust: the audience first, then those on other claims. */
export function conditionsOf({ audience, conditions }: Trust, claims: Claims): Condition[] {
  const audiences = [claims.aud].flat();
  // Another audience of the token could use it here.
  const isForUs = audiences.length === 1 && audiences[0] === audience;
  const names = Object.keys(conditions);
  return [
    {
      claim: 'aud',
      wanted: audience,
      values: textsOf(claims.aud),
      why: isForUs ? null : `its claim aud must be ${audience} alone`,
    },
    // An unverified address may belong to another person.
    ...(names.includes('email') ? [verifiedEmail(claims.email_verified)] : []),
    ...names.map((name) => conditionOf(name, conditions[name] ?? '', textsOf(claimOf(claims, name)))),
  ];
}

function verifiedEmail(value: unknown): Condition {
  const why = isTrue(value) ? null : 'its claim email_verified must be true';
  return { claim: 'email_verified', wanted: 'true', values: textsOf(value), why };
}

function conditionOf(claim: string, wanted: string, values: string[]): Condition {
  const isMet = values.some((value) => {
    return value.length <= CLAIM_MAX_LENGTH && matches(wanted as Pattern, value);
  });
  const why =
    values.length === 0
      ? `it lacks the claim ${claim}, which must match ${wanted}`
      : `its claim ${claim} does not match ${wanted}`;
  return { claim, wanted, values, why: isMet ? null : why };
}

/** A grant of a trust, and the rule that it gives for the claims, or why it gives none. */
export type FilledGrant = { grant: Trust['grants'][number] } & ({ rule: Rule } | { why: string });

export function filledGrants({ name, grants }: Trust, claims: Claims): FilledGrant[] {
  return grants.map((grant, at) => {
    const repositories = filled(grant.repositories, claims, 'repositories');
    const tags = grant.tags === null ? { pattern: null } : filled(grant.tags, claims, 'tags');
    if ('why' in repositories) return { grant, why: repositories.why };
    if ('why' in tags) return { grant, why: tags.why };
    const rule: Rule = {
      id: `trust ${name} ${at + 1}`,
      subject: `trust:${name}`,
      role: grant.role,
      repositories: repositories.pattern,
      tags: tags.pattern,
    };
    return { grant, rule };
  });
}

/** Some issuers, such as Amazon Cognito and Apple, send the truth value as a text. */
function isTrue(claim: unknown): boolean {
  return claim === true || claim === 'true';
}

/** A template filled with the claims, or why the result is not a pattern. */
function filled(
  template: string,
  claims: Claims,
  kind: 'repositories' | 'tags',
): { pattern: Pattern } | { why: string } {
  const missing: string[] = [];
  const text = template.replace(/\{([^{}]*)\}/g, (_, name: string) => {
    const value = valueFor(name, claims, kind);
    if (value === null) missing.push(name);
    return value ?? '';
  });
  if (missing.length > 0)
    return { why: `the claim ${missing.join(', ')} is not there, or cannot be part of a name` };
  return isPattern(text) ? { pattern: text } : { why: `${template} does not make a pattern` };
}

/**
 * The value for `{claim}`, or for `{claim_name}`: the part of the claim after its last slash, unless there is a claim
 * of that name. Repositories are in lower case. Tags keep their case, so that two branches never become one tag.
 */
function valueFor(name: string, claims: Claims, kind: 'repositories' | 'tags'): string | null {
  const own = claimOf(claims, name);
  const stem = name.endsWith('_name') ? name.slice(0, -'_name'.length) : null;
  const value = own === undefined && stem !== null ? claimOf(claims, stem) : own;
  if (typeof value !== 'string' && typeof value !== 'number') return null;
  const text = String(value);
  const part = own === undefined ? text.slice(text.lastIndexOf('/') + 1) : text;
  const cased = kind === 'repositories' ? part.toLowerCase() : part;
  return PARTS[kind].test(cased) && !cased.includes('..') ? cased : null;
}

/** Values must not contain `*`, which would make a pattern that matches more. */
const PARTS = {
  repositories: /^[a-z0-9._-]+(?:\/[a-z0-9._-]+)*$/,
  tags: /^[A-Za-z0-9._-]+$/,
};

/** The claim of this name, or else a claim inside another, with the shortest outer name first. */
function claimOf(claims: Claims, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name];
  for (let slash = name.indexOf('/'); slash > 0; slash = name.indexOf('/', slash + 1)) {
    const outer = name.slice(0, slash);
    const inner = Object.hasOwn(claims, outer) ? claims[outer] : null;
    if (typeof inner !== 'object' || inner === null || Array.isArray(inner)) continue;
    const found = claimOf(inner as Claims, name.slice(slash + 1));
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The texts of a claim: each entry of a list that is a text, number or boolean. */
function textsOf(value: unknown): string[] {
  return [value].flat().flatMap((entry) => {
    return typeof entry === 'string' || typeof entry === 'number' || typeof entry === 'boolean'
      ? [String(entry)]
      : [];
  });
}
