/** The decision about one action on one repository, as explanations show it. */
import * as z from 'zod/mini';
import type { Identity } from '../access/decide.ts';
import type { Action } from '../access/model.ts';
import { claimsFor } from '../auth/tokens/claims.ts';
import type { RepositoryName } from '../oci/reference.ts';
import type { Registry } from '../oci/registry.ts';
import { action } from './schemas.ts';

export const repository = z.string().check(z.minLength(1), z.meta({ examples: ['team-a/api'] }));

const conditions = z.nullable(z.array(z.array(z.string())));

export const decision = z.object({
  repository: z.string(),
  action,
  allowed: z.boolean(),
  why: z.string().check(z.describe('The rules that allow it, or what is missing.')),
  tags: conditions.check(z.describe('Only tags that match one pattern of each list. null for all tags.')),
  networks: conditions.check(z.describe('Only from a network of each list. null for any network.')),
  certificates: conditions.check(z.describe('Only with a certificate of each list. null if none is needed.')),
});

/** Whether an identity may do something, why, and under which conditions. */
export async function decisionOf(
  identity: Identity,
  name: RepositoryName,
  wanted: Action,
  registry: Registry,
) {
  const scope = { type: 'repository', name, actions: [wanted] };
  const { access, denials } = await claimsFor(identity, [scope], registry);
  const [given] = access;
  return {
    allowed: given !== undefined,
    why: given?.rule ?? denials.map(({ why }) => why).join('; '),
    tags: (wanted === 'pull' ? null : given?.tags?.[wanted]) ?? null,
    networks: given?.networks ?? null,
    certificates: given?.certificates ?? null,
  };
}
