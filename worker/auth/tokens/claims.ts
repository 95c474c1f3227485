/** What an identity gets of the scopes that were asked for: the claims of a token, or of a request with Basic credentials. */

import { type Access, decide, type Identity, pullPatterns, seesCatalog } from '../../access/decide.ts';
import type { Scope } from '../../access/scope.ts';
import { OciError } from '../../oci/errors.ts';
import { DENIALS_EXPLAINED_MAX } from '../../oci/limits.ts';
import { isRepositoryName, parseRepositoryName } from '../../oci/reference.ts';
import type { Registry } from '../../oci/registry.ts';
import type { Claims } from './access-tokens.ts';

const NO_RULE = 'no rule gives it';

/** They live for ever: whoever issues a token sets their end. */
export async function claimsFor(identity: Identity, scopes: Scope[], registry: Registry): Promise<Claims> {
  const access: Access[] = [];
  const claims: Claims = {
    subject: identity.subject,
    access,
    denials: [],
    pulls: pullPatterns(identity),
    catalog:
      scopes.some(({ type, name }) => type === 'registry' && name === 'catalog') && seesCatalog(identity),
    revision: identity.revision,
    expiresAt: Number.POSITIVE_INFINITY,
  };
  for (const scope of scopes) {
    if (scope.type !== 'repository' || !isRepositoryName(scope.name)) continue;
    const decision = await decide(identity, scope, (name) => holds(registry, name));
    if (decision.access !== null) access.push(decision.access);
    // A token must fit into a header, whatever was asked for.
    const explained = claims.denials.length < DENIALS_EXPLAINED_MAX;
    claims.denials.push(
      ...decision.denials.map((denial) => (explained ? denial : { ...denial, why: NO_RULE })),
    );
  }
  return claims;
}

/** True where a repository of this name holds something. */
async function holds(registry: Registry, name: string): Promise<boolean> {
  try {
    await registry.repository(parseRepositoryName(name)).tags({ count: 0, last: null });
    return true;
  } catch (error) {
    if (error instanceof OciError) return false;
    throw error;
  }
}
