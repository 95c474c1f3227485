/**
 * Authenticates clients. The password may be that of a user, a named token, a login token, or a token of a trusted
 * issuer; its form tells which. After failed logins a client must wait.
 */

import type { Client } from '../../access/client.ts';
import type { Identity } from '../../access/decide.ts';
import type { Lookup, LookupQuery, Role, Rule, Token, Trust, User } from '../../access/model.ts';
import type { Env } from '../../env.ts';
import { OciError } from '../../oci/errors.ts';
import { EVERYTHING } from '../../oci/pattern.ts';
import { equalSecrets } from '../../oci/secret.ts';
import type { AuthSettings } from '../../settings.ts';
import { accountsOf } from '../../stubs.ts';
import { ADMIN } from '../configured-users.ts';
import { issuerOf, type TrustedLogin, TrustRefusal, type Trusts } from '../openid/trusts.ts';
import type { AccessTokens, Login } from '../tokens/access-tokens.ts';
import { weaknessOf } from './new-password.ts';
import { hashPassword } from './password.ts';
import { Passwords } from './passwords.ts';
import { parseToken, withoutSecrets } from './token-text.ts';

/** The credentials of Basic authentication. */
export interface BasicCredentials {
  name: string;
  password: string;
}

const NO_ADMIN =
  'this registry has no admin yet. Give it one: npx wrangler secret put ADMIN_PASSWORD (then log in as "admin")';
const LOGIN_TRIES = 6;
const LOGIN_RETRY_MS = 500;
const WRONG = 'wrong name or password';
/** The lookup of a request without credentials. */
export const NO_CREDENTIALS: LookupQuery = {
  account: '',
  address: '',
  user: null,
  token: null,
  issuer: null,
};

type Recognised = Omit<Identity, 'policies' | 'revision'>;

/** The accounts of failed logins, by the error that they ended with. */
const accounts = new WeakMap<Error, string>();

/** The account of a failed login; null if the typed name has no account. */
export function accountOf(error: Error): string | null {
  return accounts.get(error) ?? null;
}

export class Authenticator {
  readonly #env: Env;
  readonly #settings: AuthSettings;
  readonly #tokens: AccessTokens;
  readonly #trusts: Trusts;
  readonly #passwords: Passwords;
  /** Why the password in ADMIN_PASSWORD is too weak; null where it is not. */
  readonly #adminWeakness: string | null;

  constructor(env: Env, settings: AuthSettings, tokens: AccessTokens, trusts: Trusts) {
    this.#env = env;
    this.#settings = settings;
    this.#tokens = tokens;
    this.#trusts = trusts;
    this.#passwords = new Passwords(settings);
    const { adminPassword } = settings;
    this.#adminWeakness = adminPassword === null ? null : weaknessOf(adminPassword, ADMIN);
  }

  /**
   * The identity for credentials. `origin` is the URL of the registry.
   *
   * Throws UNAUTHORIZED for wrong credentials.
   * Throws TOOMANYREQUESTS while the client must wait.
   */
  async identify(credentials: BasicCredentials, client: Client, origin: string): Promise<Identity> {
    const token = parseToken(credentials.password);
    const issuer = issuerOf(credentials.password);
    // Secrets that cannot be guessed are not counted and need not wait.
    const isSecret = token !== null || issuer !== null;
    const lookup = await this.#lookup({
      account: isSecret ? '' : withoutSecrets(credentials.name),
      address: isSecret ? '' : client.address,
      user: isSecret ? null : credentials.name,
      token: token?.id ?? null,
      ...(token === null ? {} : { tokenHash: token.hash }),
      issuer,
    });
    try {
      const found = isSecret
        ? await this.#bySecret(token?.hash ?? null, credentials.password, lookup, origin)
        : await this.#byName(credentials, lookup, client);
      if (found === null) throw this.#wrong(lookup);
      return { ...found, policies: lookup.policies, revision: lookup.revision };
    } catch (error) {
      const known = this.#accountShown(credentials, lookup);
      if (known !== null && error instanceof Error) accounts.set(error, known);
      throw error;
    }
  }

  /** The account of a login; null without one. */
  #accountShown({ name }: BasicCredentials, { user, token }: Lookup): string | null {
    if (token !== null) return token.owner === null ? `token:${token.name}` : `user:${token.owner}`;
    const { adminPassword, htpasswd } = this.#settings;
    const isKnown = user !== null || htpasswd.has(name) || (name === ADMIN && adminPassword !== null);
    return isKnown ? `user:${name}` : null;
  }

  /** Exchanges a token of a trusted issuer for a login. Each token can be exchanged once. Throws UNAUTHORIZED. */
  async exchange(assertion: string): Promise<Login> {
    const issuer = issuerOf(assertion);
    const lookup = await this.#lookup({ ...NO_CREDENTIALS, issuer });
    const { subject, trust, rules, id, expiresAt } = await this.#verify(assertion, lookup.trusts);
    if (await accountsOf(this.#env).consume(`${issuer} ${id}`, expiresAt)) return { subject, trust, rules };
    throw new OciError('UNAUTHORIZED', {
      message: 'this token was exchanged before: request a new one from its issuer',
    });
  }

  /** The identity of a client without credentials. Throws UNAUTHORIZED while the registry has no admin. */
  async anonymous(): Promise<Identity> {
    const lookup = await this.#lookup(NO_CREDENTIALS);
    if (!this.#isSetUp(lookup)) throw new OciError('UNAUTHORIZED', { message: NO_ADMIN });
    const { rules, policies, revision } = lookup;
    return { subject: 'anonymous', rules: rules.filter(isAnonymous), limits: null, policies, revision };
  }

  /** The text of the registry's page. Until there is an admin, it says how to create one. */
  async welcome(): Promise<string> {
    const isSetUp = this.#isSetUp(await this.#lookup(NO_CREDENTIALS));
    return isSetUp ? 'This is a Longshore container registry: its API is at /v2/.' : `Welcome: ${NO_ADMIN}.`;
  }

  #wrong(lookup: Lookup): OciError {
    return new OciError('UNAUTHORIZED', { message: this.#isSetUp(lookup) ? WRONG : NO_ADMIN });
  }

  #isSetUp({ hasAccounts }: Lookup): boolean {
    return hasAccounts || this.#settings.adminPassword !== null || this.#settings.htpasswd.size > 0;
  }

  /** Identifies by a named token, a login token, or a token of a trusted issuer. Null if it is not valid. */
  async #bySecret(
    hash: string | null,
    secret: string,
    lookup: Lookup,
    origin: string,
  ): Promise<Recognised | null> {
    if (hash !== null) return this.#byToken(hash, lookup);
    const login = await this.#tokens.verifyLogin(secret, origin);
    if (login !== null) {
      const trusts = login.trust.split(' ').map((id) => accountsOf(this.#env).hasTrust(id));
      const isTrusted = (await Promise.all(trusts)).every(Boolean);
      const loginRules = [...login.rules, ...lookup.rules.filter(isForAll)];
      return isTrusted ? { subject: login.subject, rules: loginRules, limits: null } : null;
    }
    if (lookup.trusts.length === 0) throw new TrustRefusal('its issuer is not trusted here');
    const { subject, rules } = await this.#verify(secret, lookup.trusts);
    return { subject, rules: [...rules, ...lookup.rules.filter(isForAll)], limits: null };
  }

  /** Throws a TrustRefusal, and UNAVAILABLE where an issuer does not answer. */
  async #verify(assertion: string, trusts: Trust[]): Promise<TrustedLogin> {
    try {
      return await this.#trusts.verify(assertion, trusts);
    } catch (error) {
      if (!(error instanceof OciError)) throw error;
      if (error.code === 'UNAUTHORIZED') throw new TrustRefusal(error.message);
      console.warn(error.message);
      throw new OciError('UNAVAILABLE', {
        message: 'the keys of the issuer of this token cannot be fetched: try again',
        headers: { 'Retry-After': '10' },
      });
    }
  }

  /** Identifies by name and password. A success clears failed logins. Throws TOOMANYREQUESTS, UNAVAILABLE. */
  async #byName(
    credentials: BasicCredentials,
    lookup: Lookup,
    { address }: Client,
  ): Promise<Recognised | null> {
    const { name, password } = credentials;
    const account = withoutSecrets(name);
    // Without users there is no password to guess.
    if (!this.#isSetUp(lookup)) return null;
    this.#refuseWeakAdmin(credentials);
    // A machine that repeats an old password must not lock out clients with the new one.
    if (this.#passwords.hasFailed(name, password, lookup.user)) {
      await this.#passwords.failure();
      return null;
    }
    if (lookup.waitMs > 0) throw tooManyAttempts(lookup.waitMs);
    if (!(await this.#begin(credentials, lookup, account, address))) return null;
    const failure = this.#passwords.failure();
    const rules = this.rulesOf(name, lookup.user, lookup.rules);
    const isRight = await this.#passwords.matches(name, password, lookup.user);
    if (isRight && rules !== null) {
      if (lookup.hasFailed || lookup.isNew) await accountsOf(this.#env).recordLogin(account, address, true);
      return { subject: `user:${name}`, rules, limits: null };
    }
    this.#passwords.rememberFailure(name, password, lookup.user);
    await accountsOf(this.#env).recordLogin(account, address, false);
    await failure;
    return null;
  }

  /**
   * Throws UNAVAILABLE for logins as admin while ADMIN_PASSWORD is too weak, even with the right password. Other users
   * can log in.
   */
  #refuseWeakAdmin({ name }: BasicCredentials): void {
    if (name !== ADMIN || this.#adminWeakness === null) return;
    throw new OciError('UNAVAILABLE', {
      message: `logins as admin are refused: the setting ADMIN_PASSWORD is too weak. A password ${this.#adminWeakness}. Set another one`,
    });
  }

  /**
   * Limits how many passwords are checked at once. False if the same login has failed meanwhile. Throws
   * TOOMANYREQUESTS.
   */
  async #begin(
    { name, password }: BasicCredentials,
    lookup: Lookup,
    account: string,
    address: string,
  ): Promise<boolean> {
    const budget = this.#passwords.budget(lookup.isNew);
    for (let tries = 0; ; tries++) {
      if (this.#passwords.hasFailed(name, password, lookup.user)) return false;
      // If several logins have the right password, one check is enough for all of them.
      const isFree = this.#passwords.isFree(name, password, lookup.user);
      if (!lookup.isNew && this.#passwords.hasMatched(name, password, lookup.user)) return true;
      const waitMs = isFree ? 0 : budget.take(Date.now());
      if (waitMs === 0) {
        if (await accountsOf(this.#env).mayTryPassword(account, address)) return true;
        if (!isFree) budget.giveBack();
      }
      if (tries === LOGIN_TRIES) throw tooManyAttempts(Math.max(1000, waitMs));
      await new Promise((resolve) => setTimeout(resolve, LOGIN_RETRY_MS));
    }
  }

  /** The hash of a new password. Throws TOOMANYREQUESTS if users change too many passwords at once. */
  newHash(password: string): string {
    const waitMs = this.#passwords.budget(false).take(Date.now());
    if (waitMs === 0) return hashPassword(password);
    const seconds = Math.ceil(waitMs / 1000);
    throw new OciError('TOOMANYREQUESTS', {
      message: 'too many passwords are being changed: try again in a moment',
      headers: { 'Retry-After': String(seconds) },
    });
  }

  #byToken(hash: string, lookup: Lookup): Recognised | null {
    const { token } = lookup;
    if (token === null || !equalSecrets(hash, token.hash)) return null;
    if (token.expiresAt !== null && token.expiresAt <= Date.now()) {
      throw new OciError('UNAUTHORIZED', { message: `the token ${token.name} has expired: make a new one` });
    }
    return this.identityOf(token, lookup);
  }

  /**
   * What a named token may do. A robot has the rules for it and its own grants. A user's token has the rules of its owner,
   * narrowed to its grants if it has some. Null where the owner may not log in.
   */
  identityOf(
    { name, owner, grants }: Token,
    { user, rules }: Pick<Lookup, 'user' | 'rules'>,
  ): Recognised | null {
    if (owner === null) {
      const subject = `token:${name}` as const;
      const own = grants.map((grant, at): Rule => ({ ...grant, id: `token ${name} ${at + 1}`, subject }));
      return { subject, rules: [...rules, ...own], limits: null };
    }
    const ownerRules = this.rulesOf(owner, user, rules);
    if (ownerRules === null) return null;
    // A narrowed token may still pull public repositories, which need no token.
    const limits = grants.length === 0 ? null : [...grants, ...rules.filter(isAnonymous)];
    return { subject: `user:${owner}`, rules: ownerRules, limits };
  }

  /**
   * The rules of a user. Null for an unknown or disabled user, also if HTPASSWD has the name. The password in
   * ADMIN_PASSWORD always works, because the admin repairs everything else.
   */
  rulesOf(name: string, user: User | null, rules: Rule[]): Rule[] | null {
    const { adminPassword, htpasswd, htpasswdRole } = this.#settings;
    if (name === ADMIN && adminPassword !== null)
      return [everywhere('admin', 'ADMIN_PASSWORD', name), ...rules];
    if (user?.disabled) return null;
    if (htpasswd.has(name)) {
      return htpasswdRole === null ? rules : [everywhere(htpasswdRole, 'HTPASSWD', name), ...rules];
    }
    return user === null ? null : rules;
  }

  #lookup(query: LookupQuery): Promise<Lookup> {
    return accountsOf(this.#env).lookup(query);
  }
}

function everywhere(role: Role, id: string, name: string): Rule {
  return { id, role, repositories: EVERYTHING, tags: null, subject: `user:${name}` };
}

function isAnonymous({ subject }: Rule): boolean {
  return subject === 'anonymous';
}

function isForAll({ subject }: Rule): boolean {
  return subject === 'anonymous' || subject === 'authenticated';
}

function tooManyAttempts(waitMs: number): OciError {
  const seconds = Math.ceil(waitMs / 1000);
  return new OciError('TOOMANYREQUESTS', {
    message: `too many failed logins: try again in ${seconds === 1 ? 'a second' : `${seconds} seconds`}`,
    headers: { 'Retry-After': String(seconds) },
  });
}
