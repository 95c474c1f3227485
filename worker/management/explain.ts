/** Explains a decision: why a subject may do something with a repository, or may not. */
import * as z from 'zod/mini';
import type { Identity } from '../access/decide.ts';
import type { Subject } from '../access/model.ts';
import { NO_CREDENTIALS } from '../auth/credentials/authenticator.ts';
import type { AccountsObject } from '../objects/accounts.ts';
import { OciError } from '../oci/errors.ts';
import { parseRepositoryName } from '../oci/reference.ts';
import type { Stub } from '../stubs.ts';
import { EXPLAIN_CLAIMS } from './explain-claims.ts';
import { decision, decisionOf, repository } from './explain-decision.ts';
import { type ManagementServices, type Operation, operation } from './operation.ts';
import { subject } from './rules.ts';
import { action } from './schemas.ts';

export const EXPLAIN: Operation[] = [
  operation({
    id: 'explain.get',
    method: 'GET',
    path: '/explain',
    requires: 'admin',
    summary: 'Explain why a subject may do something with a repository, or may not',
    query: z.object({ subject, repository, action }),
    status: 200,
    answer: z.object({ subject: z.string(), ...decision.shape }),
    errors: { 404: 'There is no such user or token.' },
    run: async ({ query, accounts, services }) => {
      const { subject: whom, action: wanted } = query;
      const name = parseRepositoryName(query.repository);
      const identity = await identityOf(whom, accounts, services);
      const explained = await decisionOf(identity, name, wanted, services.registry);
      return { body: { subject: whom, repository: name, action: wanted, ...explained } };
    },
  }),
  EXPLAIN_CLAIMS,
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
