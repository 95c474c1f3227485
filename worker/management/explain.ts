/** Why somebody may do something, or may not: the decision that they would get, in words. */
import * as z from 'zod/mini';
import type { Identity } from '../access/decide.ts';
import { type Lookup, type Rule, type Subject, type Token, tokenKey } from '../access/model.ts';
import { claimsFor } from '../auth/tokens/claims.ts';
import { OciError } from '../oci/errors.ts';
import { parseRepositoryName } from '../oci/reference.ts';
import type { Directory } from './directory.ts';
import { type Managed, type Operation, operation } from './operation.ts';
import { subject } from './rules.ts';
import { action } from './schemas.ts';

const conditions = z.nullable(z.array(z.array(z.string())));

export const EXPLAIN: Operation[] = [
  operation({
    id: 'explain.get',
    method: 'GET',
    path: '/explain',
    who: 'admin',
    summary: 'Why somebody may do something with a repository, or may not',
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
      why: z.string().check(z.describe('The rules that give it, or what is missing.')),
      tags: conditions.check(z.describe('Only tags that match one of each list; null for all.')),
      networks: conditions.check(z.describe('Only from a network of each list; null from everywhere.')),
      certificates: conditions.check(z.describe('Only with a certificate of each list; null without any.')),
    }),
    refusals: { 404: 'There is no such user or token.' },
    run: async ({ query, directory, managed }) => {
      const { subject: whom, action: wanted } = query;
      const repository = parseRepositoryName(query.repository);
      const identity = await identityOf(whom, directory, managed);
      const scope = { type: 'repository', name: repository, actions: [wanted] };
      const { access, denials } = await claimsFor(identity, [scope], managed.registry);
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

/** Throws NOT_FOUND. */
async function identityOf(whom: Subject, directory: Directory, { credentials }: Managed): Promise<Identity> {
  const [, kind, named = ''] = /^(user|token|group):(.+)$/.exec(whom) ?? [];
  if (kind === 'token') return tokenIdentity(await tokenNamed(directory, named), directory, credentials);
  if (kind !== 'user') {
    const subjects = [whom, 'anonymous', ...(whom === 'anonymous' ? [] : ['authenticated'])];
    const { policies, revision } = await lookUp(directory, null);
    return { subject: whom, rules: await rulesFor(directory, subjects), limits: null, policies, revision };
  }
  return userIdentity(named, directory, credentials);
}

async function userIdentity(
  named: string,
  directory: Directory,
  credentials: Managed['credentials'],
): Promise<Identity> {
  const { user, rules, policies, revision } = await lookUp(directory, named);
  const own = credentials.rulesOf(named, user, rules);
  if (own !== null) return { subject: `user:${named}`, rules: own, limits: null, policies, revision };
  const what = user === null ? `there is no user ${named}` : `the user ${named} is disabled`;
  throw new OciError('NOT_FOUND', { message: what });
}

async function tokenIdentity(
  { name, owner, grants }: Token,
  directory: Directory,
  credentials: Managed['credentials'],
): Promise<Identity> {
  if (owner !== null) {
    const identity = await userIdentity(owner, directory, credentials);
    const free = identity.rules.filter(({ subject }) => subject === 'anonymous');
    return { ...identity, limits: grants.length === 0 ? null : [...grants, ...free] };
  }
  const whom = `token:${name}` as const;
  const { policies, revision } = await lookUp(directory, null);
  const rules = await rulesFor(directory, [whom, 'anonymous', 'authenticated']);
  const own = grants.map((grant, at): Rule => ({ ...grant, id: `token ${name} ${at + 1}`, subject: whom }));
  return { subject: whom, rules: [...rules, ...own], limits: null, policies, revision };
}

/** By its id, or by its name: robots before users, whose names are their own. */
async function tokenNamed(directory: Directory, named: string): Promise<Token> {
  let found = await directory.getToken(named);
  for (let last: string | null = null; found?.owner !== null; ) {
    const { entries, more } = await directory.listTokens({}, { count: 1000, last });
    const matching: Token[] = entries.filter(({ name }) => name === named);
    found = matching.find(({ owner }) => owner === null) ?? found ?? matching[0] ?? null;
    const end = entries.at(-1);
    if (!more || end === undefined) break;
    last = tokenKey(end);
  }
  if (found !== null) return found;
  throw new OciError('NOT_FOUND', { message: `there is no token ${named}` });
}

async function rulesFor(directory: Directory, subjects: string[]): Promise<Rule[]> {
  const rules: Rule[] = [];
  for (let last: string | null = null; ; ) {
    const { entries, more } = await directory.listRules({ count: 1000, last });
    rules.push(...entries.filter((rule) => subjects.includes(rule.subject)));
    last = entries.at(-1)?.id ?? null;
    if (!more || last === null) return rules;
  }
}

/** As somebody who shows credentials would be looked up, without an attempt to count. */
function lookUp(directory: Directory, user: string | null): Promise<Lookup> {
  return directory.lookup({ account: '', address: '', user, token: null, issuer: null });
}
