/** The claims that an identity gets for the requested scopes, for a token or for a request with Basic credentials. */

import { type Access, decide, type Identity, pullPatterns, seesCatalog } from '../../access/decide.ts';
import type { Scope } from '../../access/scope.ts';
import { OciError } from '../../oci/errors.ts';
import { isRepositoryName, parseRepositoryName } from '../../oci/reference.ts';
import type { Registry } from '../../oci/registry.ts';
import type { Claims } from './access-tokens.ts';

const DENIALS_EXPLAINED_MAX = 5;

const NO_RULE = 'no rule gives it';

/** The claims do not expire: the token gets its expiry when it is issued. */
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
    // The token must fit into a header, so the number of explanations is limited.
    const explained = claims.denials.length < DENIALS_EXPLAINED_MAX;
    claims.denials.push(
      ...decision.denials.map((denial) => (explained ? denial : { ...denial, why: NO_RULE })),
    );
  }
  return claims;
}

/** Whether a repository exists. */
async function holds(registry: Registry, name: string): Promise<boolean> {
  try {
    await registry.repository(parseRepositoryName(name)).tags({ count: 0, last: null });
    return true;
  } catch (error) {
    if (error instanceof OciError) return false;
    throw error;
  }
}
