/**
 * What the rules of the matrix mean, written down a second time and in other words than the registry's: who comes, to which
 * repositories, and what they may do there.
 */
export type Action = 'pull' | 'push' | 'delete';
export type Role = 'reader' | 'writer' | 'maintainer' | 'admin';

/** Nothing at all; a token for exactly what the endpoint needs; a token that was asked for nothing; Basic unasked. */
export type Way = 'none' | 'token' | 'blank token' | 'basic';

export interface Caller {
  name: string;
  ways: Way[];
  /** What they have on `own/*`. */
  role: Role | null;
  /** Who they are: anonymous, a user with a rule, a robot with a grant, the token of the user of a role, or the admin of all. */
  as: 'anonymous' | 'user' | 'robot' | 'admin' | { tokenOf: Role; grant: [Role, string] };
  /** Tags that they may set and delete. */
  tags: string | null;
}

const BOTH: Way[] = ['token', 'basic'];
const ALL: Way[] = [...BOTH, 'blank token'];
const ROLES: Role[] = ['reader', 'writer', 'maintainer', 'admin'];

export const CALLERS: Caller[] = [
  { name: 'without credentials', ways: ['none'], role: null, as: 'anonymous', tags: null },
  { name: 'anonymous', ways: ['token', 'blank token'], role: null, as: 'anonymous', tags: null },
  { name: 'outsider', ways: ALL, role: null, as: 'user', tags: null },
  ...ROLES.map((role): Caller => ({ name: `user-${role}`, ways: BOTH, role, as: 'user', tags: null })),
  ...ROLES.map((role): Caller => ({ name: `robot-${role}`, ways: BOTH, role, as: 'robot', tags: null })),
  {
    name: 'narrowed',
    ways: BOTH,
    role: 'reader',
    as: { tokenOf: 'maintainer', grant: ['reader', 'own/*'] },
    tags: null,
  },
  {
    name: 'widened',
    ways: BOTH,
    role: 'reader',
    as: { tokenOf: 'reader', grant: ['admin', '**'] },
    tags: null,
  },
  { name: 'pr-writer', ways: ALL, role: 'writer', as: 'user', tags: 'pr-*' },
  { name: 'pr-robot', ways: BOTH, role: 'maintainer', as: 'robot', tags: 'pr-*' },
  { name: 'admin of all', ways: ALL, role: 'admin', as: 'admin', tags: null },
];

/** Kinds of repositories; those that are missing have a name of their own in every cell. */
export type Kind = 'own' | 'own, missing' | 'private' | 'missing' | 'public' | 'common';
export const KINDS: Kind[] = ['own', 'own, missing', 'private', 'missing', 'public', 'common'];
export const NAMES: Record<Kind, string> = {
  own: 'own/app',
  'own, missing': 'own/',
  private: 'other/private',
  missing: 'other/',
  public: 'public/app',
  common: 'common/app',
};
export const RULES = [
  { subject: 'anonymous', role: 'reader', repositories: 'public/*' },
  { subject: 'anonymous', role: 'reader', repositories: 'common/*' },
  { subject: 'authenticated', role: 'writer', repositories: 'common/*' },
];

export function isMissing(kind: Kind): boolean {
  return kind.endsWith('missing');
}

export function may(caller: Caller, kind: Kind, action: Action): boolean {
  if (caller.as === 'admin') return true;
  if (kind === 'private' || kind === 'missing') return false;
  if (kind === 'public') return action === 'pull';
  if (kind === 'common') return action === 'pull' || (action === 'push' && isLoggedInFreely(caller));
  if (caller.role === null) return false;
  return action === 'pull' || (action === 'push' ? caller.role !== 'reader' : isDeleter(caller.role));
}

/** What everybody may who is logged in, a narrowed token may not. */
function isLoggedInFreely({ as, name }: Caller): boolean {
  return as !== 'anonymous' && name !== 'narrowed';
}

function isDeleter(role: Role): boolean {
  return role === 'maintainer' || role === 'admin';
}
