/**
 * Decides what an identity may do with a repository, and says why: the rule that allows it, or what is missing.
 * Everything is in the identity, so no decision needs another request.
 */

import { EVERYTHING, matches, type Pattern } from '../oci/pattern.ts';
import { ACTIONS, type Action, type Grant, type Policy, ROLES, type Rule } from './model.ts';
import type { Scope } from './scope.ts';

/** In a token, which has to fit into a header: patterns of what may be pulled, and refusals with their reasons. */
const PULL_PATTERNS_MAX = 50;

/** An authenticated subject, or `anonymous`, with everything that decides what it may do. */
export interface Identity {
  /** `user:bob`, `token:ci`, `trust:github:acme/api`, or `anonymous`. */
  subject: string;
  rules: Rule[];
  /** The grants that a user's token is limited to; null if it has all rights of the user. */
  limits: Grant[] | null;
  policies: Policy[];
  /** The revision of the accounts when this identity was found. A later revocation of the subject has a higher one. */
  revision: number;
}

/**
 * The access to one repository: the `access` entry of a token (Docker token specification, "Token Content"), with its
 * conditions. The conditions are lists of lists: at least one entry of each inner list must match.
 */
export interface Access {
  type: 'repository';
  name: string;
  actions: Action[];
  /** Patterns of the tags that may be set, and of those that may be deleted. */
  tags?: Partial<Record<'push' | 'delete', string[][]>>;
  /** With `push`: patterns of the tags that the identity may delete. Without lists, all tags; missing if it may delete none. */
  maintains?: string[][];
  /** Networks (CIDR) that the client must be in. */
  networks?: string[][];
  /** Subjects of client certificates. An empty list takes any verified certificate. */
  certificates?: string[][];
  /** The rules that allow it, in words, for the audit log. */
  rule: string;
}

/** Actions that were requested and not allowed. */
export interface Denial {
  name: string;
  actions: Action[];
  why: string;
}

/**
 * Decides the requested scope of a repository. `exists` is called only if policies restrict which repositories a push
 * may create.
 */
export async function decide(
  identity: Identity,
  scope: Scope,
  exists: (name: string) => Promise<boolean>,
): Promise<{ access: Access | null; denials: Denial[] }> {
  const { name } = scope;
  const mine = about(identity, name);
  const asked = ACTIONS.filter((action) => scope.actions.includes(action) || scope.actions.includes('*'));
  const given = asked.filter((action) => allows(mine, action));
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
      ...(given.includes('push') && allows(mine, 'delete') ? { maintains: tagsOf(mine, 'delete') } : {}),
      ...(networks.length > 0 ? { networks } : {}),
      ...(certificates.length > 0 ? { certificates } : {}),
      rule: ruleOf(mine, given),
    },
    denials,
  };
}

/** Whether an identity may manage the registry: the role admin on `**`, for all tags. */
export function isAdmin({ rules, limits }: Identity): boolean {
  const all = (grants: Grant[]) =>
    grants.some(({ role, repositories, tags }) => {
      return role === 'admin' && repositories === EVERYTHING && tags === null;
    });
  return all(rules) && (limits === null || all(limits));
}

/** Whether an identity may pull every repository without conditions, so that it may list all names. */
export function seesCatalog({ rules, limits, policies }: Identity): boolean {
  if (policies.some(({ kind, repositories }) => kind !== 'create' && repositories === EVERYTHING))
    return false;
  const all = (grants: Grant[]) => grants.some(({ repositories }) => repositories === EVERYTHING);
  return all(rules) && (limits === null || all(limits));
}

/**
 * The patterns of the repositories that an identity may pull, for mounts without a source. A repository must match one
 * pattern of each list. Null if policies add conditions, or if a token cannot hold that many patterns.
 */
export function pullPatterns({ rules, limits, policies }: Identity): Pattern[][] | null {
  if (policies.some(({ kind }) => kind !== 'create')) return null;
  const patterns = (grants: Grant[]) => [...new Set(grants.map(({ repositories }) => repositories))];
  const lists = [rules, ...(limits === null ? [] : [limits])].map(patterns);
  return lists.some((list) => list.length > PULL_PATTERNS_MAX) ? null : lists;
}

/** The number of rules that the text of an access names. */
const RULES_TOLD_MAX = 3;

/** The part of an identity that applies to one repository. All patterns are matched here, once. */
function about(identity: Identity, name: string): Identity {
  const covers = ({ repositories }: { repositories: Pattern }) => matches(repositories, name);
  return {
    ...identity,
    rules: identity.rules.filter(covers),
    limits: identity.limits?.filter(covers) ?? null,
    policies: identity.policies.filter(covers),
  };
}

/** The grants that allow an action: those of the rules, and those of the limits if there are limits. */
function grantsOf({ rules, limits }: Identity, action: Action): Grant[][] {
  const giving = (grants: Grant[]) => grants.filter((grant) => gives(grant, action));
  return [giving(rules), ...(limits === null ? [] : [giving(limits)])];
}

function allows(mine: Identity, action: Action): boolean {
  return grantsOf(mine, action).every((list) => list.length > 0);
}

function gives({ role }: Grant, action: Action): boolean {
  return (ROLES[role] as readonly Action[]).includes(action);
}

/** The tag patterns of an action. A list of grants restricts tags only if every grant in it does. */
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

/** `mine` is the part of the identity that applies to the repository. */
function mayCreate(identity: Identity, mine: Identity): boolean {
  return policiesOf(identity, 'create').length === 0 || policiesOf(mine, 'create').length > 0;
}

function ruleOf({ rules }: Identity, actions: Action[]): string {
  const giving = rules.filter((rule) => actions.some((action) => gives(rule, action)));
  const words = [...new Set(giving.map(inWords))];
  const more = words.length - RULES_TOLD_MAX;
  return [...words.slice(0, RULES_TOLD_MAX), ...(more > 0 ? [`${more} more`] : [])].join('; ');
}

/** The text does not reveal whether the repository exists. */
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
