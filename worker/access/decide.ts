/**
 * Decides what an identity may do with a repository, and says why: the rule that gives it, or what is missing. A decision
 * rests on what the identity brought along; nobody is asked.
 */

import { PULL_PATTERNS_MAX } from '../oci/limits.ts';
import { EVERYTHING, matches, type Pattern } from '../oci/pattern.ts';
import { ACTIONS, type Action, type Grant, type Policy, ROLES, type Rule } from './model.ts';
import type { Scope } from './scope.ts';

/** Somebody who has proven who they are, or `anonymous`, and all that decides about them. */
export interface Identity {
  /** `user:bob`, `token:ci`, `trust:github:acme/api`, or `anonymous`. */
  subject: string;
  rules: Rule[];
  /** What a token of a user is narrowed to; null for no narrower than the rules. */
  limits: Grant[] | null;
  policies: Policy[];
  /** The number of the last change of who may log in, when this was found. */
  revision: number;
}

/**
 * What may be done with one repository: the `access` entry of a token (Docker token specification, "Token Content"), with
 * what must hold when it is used. Of each inner list one must match, of every list.
 */
export interface Access {
  type: 'repository';
  name: string;
  actions: Action[];
  /** Patterns of tags that may be set, and of those that may be deleted. */
  tags?: Partial<Record<'push' | 'delete', string[][]>>;
  /** Networks (CIDR) that the client must be in. */
  networks?: string[][];
  /** Subjects of client certificates; an empty list is any that is verified. */
  certificates?: string[][];
  /** The rule that gives it, for the audit log. */
  rule: string;
}

/** What was asked for and not given. */
export interface Denial {
  name: string;
  actions: Action[];
  why: string;
}

/** What a scope of a repository comes to. `exists` is asked only where names are not free to be created. */
export async function decide(
  identity: Identity,
  scope: Scope,
  exists: (name: string) => Promise<boolean>,
): Promise<{ access: Access | null; denials: Denial[] }> {
  const { name } = scope;
  const mine = about(identity, name);
  const asked = ACTIONS.filter((action) => scope.actions.includes(action) || scope.actions.includes('*'));
  const given = asked.filter((action) => grantsOf(mine, action).every((list) => list.length > 0));
  const denials: Denial[] = [];
  const missing = asked.filter((action) => !given.includes(action));
  if (missing.length > 0) denials.push({ name, actions: missing, why: whyNot(mine, name, missing) });
  if (given.includes('push') && !mayCreate(identity, mine) && !(await exists(name))) {
    given.splice(given.indexOf('push'), 1);
    const why = `no policy lets a push create ${name}: ask an admin for one of kind "create" that matches it`;
    denials.push({ name, actions: ['push'], why });
  }
  if (given.length === 0) return { access: null, denials };
  const tags = Object.fromEntries(
    given.flatMap((action) => {
      const patterns = action === 'pull' ? [] : tagsOf(mine, action);
      return patterns.length > 0 ? [[action, patterns]] : [];
    }),
  );
  const networks = policiesOf(mine, 'networks').map((policy) => policy.networks);
  const certificates = policiesOf(mine, 'certificate').map((policy) => policy.subjects);
  return {
    access: {
      type: 'repository',
      name,
      actions: given,
      ...(Object.keys(tags).length > 0 ? { tags } : {}),
      ...(networks.length > 0 ? { networks } : {}),
      ...(certificates.length > 0 ? { certificates } : {}),
      rule: ruleOf(mine, given),
    },
    denials,
  };
}

/** True for those who manage the registry. */
export function isAdmin({ rules, limits }: Identity): boolean {
  const all = (grants: Grant[]) =>
    grants.some(({ role, repositories, tags }) => {
      return role === 'admin' && repositories === EVERYTHING && tags === null;
    });
  return all(rules) && (limits === null || all(limits));
}

/** True for those who may pull everything, whatever policies ask for, and so may see every name. */
export function seesCatalog({ rules, limits, policies }: Identity): boolean {
  if (policies.some(({ kind, repositories }) => kind !== 'create' && repositories === EVERYTHING))
    return false;
  const all = (grants: Grant[]) => grants.some(({ repositories }) => repositories === EVERYTHING);
  return all(rules) && (limits === null || all(limits));
}

/**
 * The patterns of what may be pulled, for mounts that name no source: a repository must match one of each list. Null where
 * policies make it depend on more, or where they are too many for a token.
 */
export function pullPatterns({ rules, limits, policies }: Identity): Pattern[][] | null {
  if (policies.some(({ kind }) => kind !== 'create')) return null;
  const patterns = (grants: Grant[]) => [...new Set(grants.map(({ repositories }) => repositories))];
  const lists = [rules, ...(limits === null ? [] : [limits])].map(patterns);
  return lists.some((list) => list.length > PULL_PATTERNS_MAX) ? null : lists;
}

/** Rules that one access names. */
const RULES_TOLD_MAX = 3;

/** What an identity has that is about one repository. Every pattern is matched here, once, and nothing below does it again. */
function about(identity: Identity, name: string): Identity {
  const covers = ({ repositories }: { repositories: Pattern }) => matches(repositories, name);
  return {
    ...identity,
    rules: identity.rules.filter(covers),
    limits: identity.limits?.filter(covers) ?? null,
    policies: identity.policies.filter(covers),
  };
}

/** The grants that give an action: of the rules, and of the limits where there are some. */
function grantsOf({ rules, limits }: Identity, action: Action): Grant[][] {
  const giving = (grants: Grant[]) => grants.filter((grant) => gives(grant, action));
  return [giving(rules), ...(limits === null ? [] : [giving(limits)])];
}

function gives({ role }: Grant, action: Action): boolean {
  return (ROLES[role] as readonly Action[]).includes(action);
}

/** Where every grant of an action is only for some tags, those. */
function tagsOf(mine: Identity, action: Action): string[][] {
  return grantsOf(mine, action).flatMap((grants) => {
    const tags = grants.map((grant) => grant.tags);
    return tags.includes(null) ? [] : [tags as Pattern[]];
  });
}

function policiesOf<Kind extends Policy['kind']>(
  { policies }: Identity,
  kind: Kind,
): Extract<Policy, { kind: Kind }>[] {
  return policies.filter((policy): policy is Extract<Policy, { kind: Kind }> => policy.kind === kind);
}

/** `mine` is what of the identity is about the repository. */
function mayCreate(identity: Identity, mine: Identity): boolean {
  return policiesOf(identity, 'create').length === 0 || policiesOf(mine, 'create').length > 0;
}

function ruleOf({ rules }: Identity, actions: Action[]): string {
  const giving = rules.filter((rule) => actions.some((action) => gives(rule, action)));
  const words = [...new Set(giving.map(inWords))];
  const more = words.length - RULES_TOLD_MAX;
  return [...words.slice(0, RULES_TOLD_MAX), ...(more > 0 ? [`${more} more`] : [])].join('; ');
}

/** Says nothing about whether the repository exists: the answer is the same for one that does not. */
function whyNot({ subject, rules, limits }: Identity, name: string, actions: Action[]): string {
  const what = `${subject} may not ${actions.join(' and ')} ${name}`;
  if (subject === 'anonymous')
    return `${what}: ${actions.includes('pull') ? 'it is not public, so ' : ''}log in`;
  const byRules = actions.every((action) => rules.some((rule) => gives(rule, action)));
  if (byRules && limits !== null) return `${what}: its owner may, but the token is narrowed to less`;
  const lesser = rules.map(inWords);
  const has = lesser.length === 0 ? 'no rule gives it' : `it has only ${[...new Set(lesser)].join('; ')}`;
  return `${what}: ${has}. An admin can add a rule`;
}

/** `reader of acme/* for group:dev (rule 3)`. */
function inWords({ id, role, repositories, subject, tags }: Rule): string {
  return `${role} of ${repositories}${tags === null ? '' : ` (tags ${tags})`} for ${subject} (rule ${id})`;
}
