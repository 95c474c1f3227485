/** Explains a decision: why a subject may do something with a repository, or may not. */
import * as z from 'zod/mini';
import type { Identity } from '../access/decide.ts';
import type { Subject } from '../access/model.ts';
import { NO_CREDENTIALS } from '../auth/credentials/authenticator.ts';
import { claimsFor } from '../auth/tokens/claims.ts';
import type { AccountsObject } from '../objects/accounts.ts';
import { OciError } from '../oci/errors.ts';
import { parseRepositoryName } from '../oci/reference.ts';
import type { Stub } from '../stubs.ts';
import { type ManagementServices, type Operation, operation } from './operation.ts';
import { subject } from './rules.ts';
import { action } from './schemas.ts';

const conditions = z.nullable(z.array(z.array(z.string())));

export const EXPLAIN: Operation[] = [
  operation({
    id: 'explain.get',
    method: 'GET',
    path: '/explain',
    requires: 'admin',
    summary: 'Explain why a subject may do something with a repository, or may not',
    query: z.object({
      subject,
      repository: z.string().check(z.minLength(1), z.meta({ examples: ['team-a/api'] })),
      action,
    }),
    status: 200,
    answer: z.object({
      subject: z.string(),
      repository: z.string(),
      action,
      allowed: z.boolean(),
      why: z.string().check(z.describe('The rules that allow it, or what is missing.')),
      tags: conditions.check(z.describe('Only tags that match one pattern of each list. null for all tags.')),
      networks: conditions.check(z.describe('Only from a network of each list. null for any network.')),
      certificates: conditions.check(
        z.describe('Only with a certificate of each list. null if none is needed.'),
      ),
    }),
    errors: { 404: 'There is no such user or token.' },
    run: async ({ query, accounts, services }) => {
      const { subject: whom, action: wanted } = query;
      const repository = parseRepositoryName(query.repository);
      const identity = await identityOf(whom, accounts, services);
      const scope = { type: 'repository', name: repository, actions: [wanted] };
      const { access, denials } = await claimsFor(identity, [scope], services.registry);
      const [given] = access;
      return {
        body: {
          subject: whom,
          repository,
          action: wanted,
          allowed: given !== undefined,
          why: given?.rule ?? denials.map(({ why }) => why).join('; '),
          tags: (wanted === 'pull' ? null : given?.tags?.[wanted]) ?? null,
          networks: given?.networks ?? null,
          certificates: given?.certificates ?? null,
        },
      };
    },
  }),
];

/** The identity of a subject, without credentials. Throws NOT_FOUND. */
async function identityOf(
  subject: Subject,
  accounts: Stub<AccountsObject>,
  { authenticator }: ManagementServices,
): Promise<Identity> {
  const [, kind, name = ''] = /^(user|token):(.+)$/.exec(subject) ?? [];
  if (kind === undefined) {
    const subjects = new Set<Subject>([subject, 'anonymous']);
    if (subject !== 'anonymous') subjects.add('authenticated');
    const rules = await accounts.rulesFor([...subjects]);
    const { policies, revision } = await accounts.lookup(NO_CREDENTIALS);
    return { subject, rules, limits: null, policies, revision };
  }
  const token = kind === 'token' ? await accounts.findToken(name) : null;
  if (kind === 'token' && token === null) {
    throw new OciError('NOT_FOUND', { message: `there is no token ${name}` });
  }
  const lookup = await accounts.lookup({
    ...NO_CREDENTIALS,
    ...(token ? { token: token.id } : { user: name }),
  });
  const { user, rules, policies, revision } = lookup;
  const owner = token === null ? name : token.owner;
  const ownRules = owner === null ? [] : authenticator.rulesOf(owner, user, rules);
  if (ownRules === null) {
    const message = user === null ? `there is no user ${owner}` : `the user ${owner} is disabled`;
    throw new OciError('NOT_FOUND', { message });
  }
  const found = token === null ? null : authenticator.identityOf(token, lookup);
  return { ...(found ?? { subject, rules: ownRules, limits: null }), policies, revision };
}
