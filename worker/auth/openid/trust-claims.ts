/**
 * What a trust asks of a token's claims, and what it makes of them. A claim is named as it is, or as a path from one to a
 * claim inside it: `kubernetes.io/namespace`. Conditions are patterns as of names: `*` stops at a slash, `**` does not.
 */

import type { Trust } from '../../access/model.ts';
import { CLAIM_MAX_LENGTH } from '../../oci/limits.ts';
import { isPattern, matches, type Pattern } from '../../oci/pattern.ts';

type Claims = Record<string, unknown>;

/** Why a trust does not hold for claims; null where it does. */
export function unmet({ audience, conditions }: Trust, claims: Claims): string | null {
  // A token for several audiences could be shown here by any of the others.
  const audiences = [claims.aud].flat();
  if (audiences.length !== 1 || audiences[0] !== audience) return `its claim aud must be ${audience} alone`;
  const names = Object.keys(conditions);
  // All of an issuer's tokens are of all of its customers.
  if (names.length === 0) return 'the trust has no conditions (sub: ** lets in everybody of the issuer)';
  // Anyone can tell an issuer any address.
  if (names.includes('email') && !isTrue(claims.email_verified))
    return 'its claim email_verified must be true';
  for (const name of names) {
    const pattern = conditions[name] ?? '';
    const values = textsOf(claimOf(claims, name));
    if (values.length === 0) return `it lacks the claim ${name}, which must match ${pattern}`;
    if (!values.some((value) => value.length <= CLAIM_MAX_LENGTH && matches(pattern as Pattern, value)))
      return `its claim ${name} does not match ${pattern}`;
  }
  return null;
}

/** Some issuers, such as Amazon Cognito and Apple, write the truth value as a text. */
function isTrue(claim: unknown): boolean {
  return claim === true || claim === 'true';
}

/** A template with the claims in place, or why that makes no pattern. */
export function filled(
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
 * `{claim}` is the claim, and `{claim_name}` what comes after its last slash, unless a claim is called so. Repositories are
 * in lower case; a tag is not, since another branch would otherwise be taken for it.
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

/** No `*` above all: a value must not become a pattern of more than itself. */
const PARTS = {
  repositories: /^[a-z0-9._-]+(?:\/[a-z0-9._-]+)*$/,
  tags: /^[A-Za-z0-9._-]+$/,
};

/** A claim of this name, or else one inside a claim, the shortest name first. */
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

/** Of a list, each; of what is no text, number or boolean, none. */
function textsOf(value: unknown): string[] {
  return [value].flat().flatMap((entry) => {
    return typeof entry === 'string' || typeof entry === 'number' || typeof entry === 'boolean'
      ? [String(entry)]
      : [];
  });
}
