/** Who and what is managed: the `Accounts` object and the audit log, as the management API sees them. */

import type { AuditEvent, Lookup, LookupQuery, Policy, Rule, Token, Trust, User } from '../access/model.ts';
import type { Env } from '../env.ts';
import type { Listing, Page } from '../oci/page.ts';
import { accountsOf, auditLogOf } from '../stubs.ts';

export interface Directory {
  lookup(query: LookupQuery): Promise<Lookup>;
  listUsers(page: Page): Promise<Listing<User>>;
  getUser(name: string): Promise<User | null>;
  putUser(
    user: Pick<User, 'name'> & Partial<User> & { onlyNew?: boolean },
  ): Promise<'created' | 'updated' | 'taken'>;
  /** With the user's tokens and rules. */
  deleteUser(name: string): Promise<boolean>;
  /** Makes the people of an account sign in as another user. */
  linkSignIn(account: string, to: string): Promise<'linked' | 'no sign-in' | 'no user'>;
  /** Name -> what the issuer calls the person, of those of the names who signed in. */
  displayNames(names: string[]): Promise<Record<string, string>>;
  /** Those of everybody where `owner` is undefined, those of robots where it is null. `last` is a `tokenKey`. */
  listTokens(of: { owner?: string | null | undefined }, page: Page): Promise<Listing<Token>>;
  createToken(token: Token, ofSetting: boolean): Promise<'created' | 'name taken' | 'no owner'>;
  getToken(id: string): Promise<Token | null>;
  deleteToken(id: string): Promise<boolean>;
  /** Ends also what was issued to the user. Gives how many there were. */
  deleteTokensOf(owner: string): Promise<number>;
  rotateSigningKeys(dropsOld: boolean): Promise<void>;
  /** `last` is an id. */
  listRules(page: Page): Promise<Listing<Rule>>;
  createRule(rule: Omit<Rule, 'id'>): Promise<Rule>;
  deleteRule(id: string): Promise<boolean>;
  listPolicies(): Promise<Policy[]>;
  createPolicy(policy: NewPolicy): Promise<Policy>;
  deletePolicy(id: string): Promise<boolean>;
  listTrusts(): Promise<Trust[]>;
  createTrust(trust: Omit<Trust, 'id'>): Promise<Trust | 'name taken'>;
  deleteTrust(id: string): Promise<boolean>;
}

/** A policy before it has an id. */
type NewPolicy = Policy extends infer One ? (One extends Policy ? Omit<One, 'id'> : never) : never;

interface AuditQuery {
  /** Id of an event: only older ones. */
  before: number | null;
  count: number;
  actor?: string | undefined;
  repository?: string | undefined;
  decision?: AuditEvent['decision'] | undefined;
}

export interface AuditTrail {
  /** Newest first. */
  list(query: AuditQuery): Promise<{ entries: (AuditEvent & { id: number })[]; next: number | null }>;
}

export function directoryOf(env: Env): Directory {
  return accountsOf(env) as unknown as Directory;
}

export function auditTrailOf(env: Env): AuditTrail {
  return auditLogOf(env) as unknown as AuditTrail;
}
