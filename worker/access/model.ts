/**
 * Who may do what, as it is kept: roles on patterns of repositories, given to subjects, and policies that no role overrules.
 * This is the vocabulary that the `Accounts` object, the token endpoint and the management API share.
 */
import type { Pattern } from '../oci/pattern.ts';

export const ACTIONS = ['pull', 'push', 'delete'] as const;
export type Action = (typeof ACTIONS)[number];

/** The access that an endpoint requires: an action on its repository, the catalog, or only valid credentials (`none`). */
export type RequiredAccess = 'none' | 'catalog' | Action;

/** What each role may do. An `admin` of `**` also manages the registry, a maintainer deletes. */
export const ROLES = {
  reader: ['pull'],
  writer: ['pull', 'push'],
  maintainer: ['pull', 'push', 'delete'],
  admin: ['pull', 'push', 'delete'],
} as const satisfies Record<string, readonly Action[]>;
export type Role = keyof typeof ROLES;

/** A role on the repositories of a pattern; where `tags` is one, only such tags may be set or deleted. */
export interface Grant {
  role: Role;
  repositories: Pattern;
  tags: Pattern | null;
}

/**
 * Whom a rule is for: `user:bob`, `token:ci`, `group:developers`, `authenticated` (all but those without credentials), or
 * `anonymous` (everybody: the repositories of its rules are public).
 */
export type Subject = `${'user' | 'token' | 'group' | 'trust'}:${string}` | 'authenticated' | 'anonymous';

export interface Rule extends Grant {
  id: string;
  subject: Subject;
}

/** What must hold besides a role. Several policies on one repository must all hold, but of `create` one is enough. */
export type Policy = { id: string; repositories: Pattern } & (
  | { kind: 'networks'; networks: string[] }
  /** A verified client certificate, of one of these subjects (distinguished names); of any where there are none. */
  | { kind: 'certificate'; subjects: string[] }
  /** Where there is one of these, only such names come to be by a push. */
  | { kind: 'create' }
);

export interface User {
  name: string;
  /** What `hashPassword` made; null for one that signs in elsewhere. */
  password: string | null;
  groups: string[];
  disabled: boolean;
  /** Unix time, ms. */
  createdAt: number;
}

/** Somebody who signs in at an issuer, in the registry's words. */
export interface Person {
  /** A hash of issuer and subject: who it is. */
  mark: string;
  /** The name of the account that a first sign-in makes. */
  account: string;
  /** What the issuer calls the person; decides nothing. */
  displayName: string;
  groups: string[];
  /** What all groups of the issuer begin with; may be empty. */
  groupsPrefix: string;
}

export interface Token {
  /** Part of the token's text; no secret. */
  id: string;
  /** What people call it; unique among those of its owner, or among robots. */
  name: string;
  /** The user whose rights it has at the most; null for a robot, whose rights are its grants alone. */
  owner: string | null;
  /** SHA-256 of the secret, in hexadecimal. */
  hash: string;
  /** Of a user's token: what it is narrowed to; none means all that the user may. */
  grants: Grant[];
  /** Unix time, ms; null for never. */
  expiresAt: number | null;
  lastUsedAt: number | null;
  createdAt: number;
}

/** An issuer of OpenID Connect tokens that is trusted, for those whose claims meet the conditions. */
export interface Trust {
  id: string;
  name: string;
  issuer: string;
  audience: string;
  /** Claim -> pattern that its value, or one of its values, must match. */
  conditions: Record<string, string>;
  /** Patterns may hold `{claim}`, and `{claim_name}` for what comes after the last slash of a claim. */
  grants: { role: Role; repositories: string; tags: string | null }[];
  /** The issuer's key set (JSON), for one that cannot be reached; null to discover it. */
  jwks: string | null;
}

/** What tells the names of tokens apart: those of users are their own. Lists are in this order. */
export function tokenKey({ owner, name }: Pick<Token, 'owner' | 'name'>): string {
  return owner === null ? name : `${owner}/${name}`;
}

/** Tokens that a sign-in gives; no other token can have such a name. */
export const SIGN_IN_TOKEN = 'sign-in ';

/** What `Accounts` is asked when somebody shows credentials. */
export interface LookupQuery {
  /** Who it claims to be: failed logins are counted by it. */
  account: string;
  /** Address of the client; empty where it is not known. */
  address: string;
  user: string | null;
  /** Id of a token. */
  token: string | null;
  /** The hash of the secret that came with it: a use is written down only where it is the right one. */
  tokenHash?: string;
  issuer: string | null;
}

export interface Lookup {
  /** How long this account or address must wait before the next attempt, in ms; 0 for not at all. */
  waitMs: number;
  user: User | null;
  token: Token | null;
  trusts: Trust[];
  /** The rules for the user, the token, their groups, for `authenticated` and for `anonymous`. */
  rules: Rule[];
  policies: Policy[];
  /** Failed logins of this account from this address are on record, which a success clears. */
  hasFailed: boolean;
  /** Nobody has logged in to the account from this address yet. */
  isNew: boolean;
  /** False while nobody has been added. */
  hasAccounts: boolean;
  /** The number of the last change of who may log in. */
  revision: number;
}

/** A key that tokens are signed with, as `Accounts` keeps it. JWK of ES256. */
export interface SigningKey {
  kid: string;
  privateJwk: JsonWebKey;
  publicJwk: JsonWebKey;
  /** Unix time, ms; until then it is only published. */
  signsFrom: number;
}

/** Which tokens are revoked: those whose revision is below that of their subject, or below the floor. */
export interface Revoked {
  /** The number of the last change. */
  revision: number;
  floor: number;
  subjects: Record<string, number>;
}

/** What an isolate knows of `Accounts` to check tokens without asking. */
export interface AccessState {
  keys: SigningKey[];
  revoked: Revoked;
}

/** One line of the audit log. */
export interface AuditEvent {
  /** Unix time, ms. */
  at: number;
  /** `user:bob`, `token:ci`, `trust:github`, `anonymous`; `unknown:` and a hash for a name that is no account's. */
  actor: string;
  /** `login`, `token`, `pull`, `push`, `delete`, `mount`, or of the management API `user.create` and the like. */
  action: string;
  repository: string | null;
  /** A tag or a digest, or whatever else was acted upon. */
  reference: string | null;
  address: string;
  userAgent: string;
  decision: 'allowed' | 'denied' | 'failed';
  /** The rule that decided, in words. */
  rule: string;
  requestId: string;
  /** Of how many events of the same sort this is the first: pulls and refusals are counted together. */
  count: number;
  /** Of refusals that were counted together: what others of them asked for, and why they were refused. */
  examples: string[];
}
