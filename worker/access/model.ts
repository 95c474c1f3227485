/**
 * The stored model of access: rules give roles on repositories to subjects, and policies add conditions that no role
 * overrides. The `Accounts` object, the token endpoint and the management API share these types.
 */
import type { Pattern } from '../oci/pattern.ts';

/** One text of an audit event. */
export const AUDIT_TEXT_MAX_LENGTH = 500;

export const ACTIONS = ['pull', 'push', 'delete'] as const;
export type Action = (typeof ACTIONS)[number];

/** The access that an endpoint requires: an action on its repository, the catalog, or only valid credentials (`none`). */
export type RequiredAccess = 'none' | 'catalog' | Action;

/** The actions of each role. An `admin` of `**` also manages the registry. */
export const ROLES = {
  reader: ['pull'],
  writer: ['pull', 'push'],
  maintainer: ['pull', 'push', 'delete'],
  admin: ['pull', 'push', 'delete'],
} as const satisfies Record<string, readonly Action[]>;
export type Role = keyof typeof ROLES;

/** A role on the repositories that match a pattern. With `tags`, only tags that match may be set or deleted. */
export interface Grant {
  role: Role;
  repositories: Pattern;
  tags: Pattern | null;
}

/**
 * The subject of a rule: `user:bob`, `token:ci`, `group:developers`, `authenticated` (everyone with credentials), or
 * `anonymous` (everyone, so the repositories of the rule are public).
 */
export type Subject = `${'user' | 'token' | 'group' | 'trust'}:${string}` | 'authenticated' | 'anonymous';

export interface Rule extends Grant {
  id: string;
  subject: Subject;
}

/**
 * A condition besides the role. All `networks` and `certificate` policies on a repository must hold; of the `create`
 * policies, one that matches is enough.
 */
export type Policy = { id: string; repositories: Pattern } & (
  | { kind: 'networks'; networks: string[] }
  /** A verified client certificate with one of these subjects (distinguished names). An empty list takes any. */
  | { kind: 'certificate'; subjects: string[] }
  /** If such policies exist, a push creates only repositories that one of them matches. */
  | { kind: 'create' }
);

export interface User {
  name: string;
  /** What `hashPassword` returned; null for a user who signs in at an issuer. */
  password: string | null;
  groups: string[];
  disabled: boolean;
  /** Unix time, ms. */
  createdAt: number;
}

/** A person who signs in at an issuer. */
export interface Person {
  /** A hash of issuer and subject, which identifies the person. */
  mark: string;
  /** The name of the account that the first sign-in creates. */
  account: string;
  /** The name of the person at the issuer. It gives no rights. */
  displayName: string;
  groups: string[];
  /** The prefix of all groups of the issuer; may be empty. */
  groupsPrefix: string;
}

export interface Token {
  /** Part of the token's text, and not secret. */
  id: string;
  /** Unique among the tokens of its owner, or among robots. */
  name: string;
  /** The user whose rights it has. Null for a robot, which has the rights of its grants and of the rules for it. */
  owner: string | null;
  /** SHA-256 of the secret, in hexadecimal. */
  hash: string;
  /** For a user's token, the limit of its rights; an empty list sets no limit. */
  grants: Grant[];
  /** Unix time, ms; null for never. */
  expiresAt: number | null;
  lastUsedAt: number | null;
  createdAt: number;
}

/** Trust in an issuer of OpenID Connect tokens. Tokens whose claims meet the conditions get the grants. */
export interface Trust {
  id: string;
  name: string;
  issuer: string;
  audience: string;
  /** Claim -> pattern that its value, or one of its values, must match. */
  conditions: Record<string, string>;
  /** Patterns may hold `{claim}`, and `{claim_name}` for what comes after the last slash of a claim. */
  grants: { role: Role; repositories: string; tags: string | null }[];
  /** The key set of an issuer that the registry cannot reach, as JSON. Null to fetch it. */
  jwks: string | null;
}

/** The stored name of a token, which is unique: two users may have tokens of the same name. Lists are in this order. */
export function tokenKey({ owner, name }: Pick<Token, 'owner' | 'name'>): string {
  return owner === null ? name : `${owner}/${name}`;
}

/** The prefix of the names of tokens that a sign-in creates. Other names have no spaces. */
export const SIGN_IN_TOKEN = 'sign-in ';

/** The lookup for a request with or without credentials. */
export interface LookupQuery {
  /** The claimed account, by which failed logins are counted. Empty if the login is not counted. */
  account: string;
  /** Address of the client; empty where it is not known. */
  address: string;
  user: string | null;
  /** Id of a token. */
  token: string | null;
  /** The hash of the secret that came with the id. The use is recorded only if the hash is right. */
  tokenHash?: string;
  issuer: string | null;
}

export interface Lookup {
  /** How long this account or address must wait before the next attempt, in ms. 0 if it need not wait. */
  waitMs: number;
  user: User | null;
  token: Token | null;
  trusts: Trust[];
  /** The rules for the user, the token, their groups, for `authenticated` and for `anonymous`. */
  rules: Rule[];
  policies: Policy[];
  /** Whether a success would clear failed logins of this account from this address. */
  hasFailed: boolean;
  /** Whether no login to the account from this address has succeeded yet. */
  isNew: boolean;
  /** Whether there is a user, a token or a trust. */
  hasAccounts: boolean;
  /** The revision: the number of the last revocation. */
  revision: number;
}

/** A key that signs tokens, as `Accounts` stores it (JWK, ES256). */
export interface SigningKey {
  kid: string;
  privateJwk: JsonWebKey;
  publicJwk: JsonWebKey;
  /** When it starts to sign (Unix time, ms). Until then it is only published. */
  signsFrom: number;
}

/** Revoked tokens: those with a revision lower than that of their subject, or lower than the floor. */
export interface Revoked {
  /** The number of the last revocation. */
  revision: number;
  floor: number;
  subjects: Record<string, number>;
}

/** What an isolate needs to verify tokens without asking `Accounts`. */
export interface AccessState {
  keys: SigningKey[];
  revoked: Revoked;
}

/** One line of the audit log. */
export interface AuditEvent {
  /** Unix time, ms. */
  at: number;
  /** `user:bob`, `token:ci`, `trust:github` or `anonymous`. For a name without an account, `unknown:` and a hash of it. */
  actor: string;
  /** `login`, `token`, `pull`, `push`, `delete`, `mount`, or an operation of the management API such as `user.create`. */
  action: string;
  repository: string | null;
  /** A tag, a digest, or another object of the action. */
  reference: string | null;
  address: string;
  userAgent: string;
  decision: 'allowed' | 'denied' | 'failed';
  /** The rule that decided, in words. */
  rule: string;
  requestId: string;
  /** How many events of the same kind this one counts: pulls and refusals are counted together. */
  count: number;
  /** For refusals that were counted together: the actions and reasons of some of the others. */
  examples: string[];
}
