/**
 * From what a client shows to who it is. A password may be that of a user, a named token, a login token, or a token of a
 * trusted issuer; which one is seen by its form. Who fails must wait before the next attempt.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { accountsOf } from '../../../durable-objects/address.ts';
import type { Env } from '../../env.ts';
import { OciError } from '../../oci/errors.ts';
import { PASSWORDS_REMEMBERED } from '../../oci/limits.ts';
import { EVERYTHING } from '../../oci/pattern.ts';
import { issuerOf, type Trusts } from '../openid/trusts.ts';
import type { Client } from '../rules/conditions.ts';
import type { Identity } from '../rules/decide.ts';
import type { Lookup, LookupQuery, Role, Rule, User } from '../rules/rules.ts';
import { ADMIN, type AuthSettings } from '../settings.ts';
import type { AccessTokens, Login } from '../tokens/access-tokens.ts';
import { pretendToVerify, verifyPassword } from './password.ts';
import { parseToken, withoutSecrets } from './token-text.ts';

/** What a client shows, as in Basic authentication. */
export interface Shown {
  name: string;
  password: string;
}

const NO_ADMIN =
  'this registry has no admin yet. Give it one: npx wrangler secret put ADMIN_PASSWORD (then log in as "admin")';
/** Stands for the hash that the password of a setting has none of. */
const ADMIN_MARK = 'ADMIN_PASSWORD';
const LOGIN_TRIES = 6;
const WRONG = 'wrong name or password';
const NOBODY: LookupQuery = { account: '', address: '', user: null, token: null, issuer: null };

type Recognised = Omit<Identity, 'policies' | 'revision'>;

/** The accounts that failed logins were for. */
const accounts = new WeakMap<Error, string>();

/** The account that a login which failed was for; null where what was typed as its name is no account. */
export function accountOf(fault: Error): string | null {
  return accounts.get(fault) ?? null;
}

export class Credentials {
  readonly #env: Env;
  readonly #settings: AuthSettings;
  readonly #tokens: AccessTokens;
  readonly #trusts: Trusts;
  /** Passwords that matched a stored hash, by a keyed hash of both: the slow one is paid once. */
  readonly #matched = new Set<string>();
  readonly #key = randomBytes(32);

  constructor(env: Env, settings: AuthSettings, tokens: AccessTokens, trusts: Trusts) {
    this.#env = env;
    this.#settings = settings;
    this.#tokens = tokens;
    this.#trusts = trusts;
  }

  /** Throws UNAUTHORIZED, TOOMANYREQUESTS. */
  async identify(shown: Shown, client: Client, origin: string): Promise<Identity> {
    const token = parseToken(shown.password);
    const issuer = issuerOf(shown.password);
    // Secrets that nobody can guess are counted by the address alone.
    const account = token === null && issuer === null ? withoutSecrets(shown.name) : '';
    const lookup = await this.#lookup({
      account,
      address: client.address,
      user: token === null ? shown.name : null,
      token: token?.id ?? null,
      ...(token === null ? {} : { tokenHash: token.hash }),
      issuer,
    });
    try {
      if (lookup.waitMs > 0) throw tooManyAttempts(lookup.waitMs);
      const identity = await this.#counted(account, client, lookup, async () => {
        const found = await this.#recognise(shown, lookup, origin, client);
        if (found !== null) return found;
        throw new OciError('UNAUTHORIZED', { message: this.#isSetUp(lookup) ? WRONG : NO_ADMIN });
      });
      return { ...identity, policies: lookup.policies, revision: lookup.revision };
    } catch (fault) {
      const known = this.#accountShown(shown, lookup);
      if (known !== null && fault instanceof Error) accounts.set(fault, known);
      throw fault;
    }
  }

  /** The account that a login was for, where there is one. */
  #accountShown({ name }: Shown, { user, token }: Lookup): string | null {
    if (token !== null) return token.owner === null ? `token:${token.name}` : `user:${token.owner}`;
    const { adminPassword, htpasswd } = this.#settings;
    const isKnown = user !== null || htpasswd.has(name) || (name === ADMIN && adminPassword !== null);
    return isKnown ? `user:${name}` : null;
  }

  /** A token of a trusted issuer becomes a login, once. Throws UNAUTHORIZED, TOOMANYREQUESTS. */
  async exchange(assertion: string, client: Client): Promise<Login> {
    const account = ''; // Nobody can guess a signature: only the address waits.
    const issuer = issuerOf(assertion);
    const lookup = await this.#lookup({ account, address: client.address, user: null, token: null, issuer });
    if (lookup.waitMs > 0) throw tooManyAttempts(lookup.waitMs);
    return this.#counted(account, client, lookup, async () => {
      const { subject, trust, rules, id, expiresAt } = await this.#trusts.verify(assertion, lookup.trusts);
      if (await accountsOf(this.#env).consume(`${issuer} ${id}`, expiresAt)) return { subject, trust, rules };
      throw new OciError('UNAUTHORIZED', { message: 'this token has been exchanged before' });
    });
  }

  /** Who shows nothing. Throws UNAUTHORIZED where the registry has no admin yet. */
  async anonymous(): Promise<Identity> {
    const lookup = await this.#lookup(NOBODY);
    if (!this.#isSetUp(lookup)) throw new OciError('UNAUTHORIZED', { message: NO_ADMIN });
    const { rules, policies, revision } = lookup;
    return { subject: 'anonymous', rules: rules.filter(isAnonymous), limits: null, policies, revision };
  }

  /** What the page of the registry says to people: before there is an admin, how to get one. */
  async welcome(): Promise<string> {
    const isSetUp = this.#isSetUp(await this.#lookup(NOBODY));
    return isSetUp ? 'This is a Longshore container registry: its API is at /v2/.' : `Welcome: ${NO_ADMIN}.`;
  }

  /** Failures are counted, and a success forgives them. */
  async #counted<T>(account: string, client: Client, lookup: Lookup, attempt: () => Promise<T>): Promise<T> {
    try {
      const result = await attempt();
      if (lookup.hasFailed || lookup.isNew)
        await accountsOf(this.#env).attempted(account, client.address, true);
      return result;
    } catch (fault) {
      const isGuess = fault instanceof OciError && fault.code === 'UNAUTHORIZED';
      if (isGuess && !(fault instanceof ExpiredToken)) {
        await accountsOf(this.#env).attempted(account, client.address, false);
      }
      throw fault;
    }
  }

  #isSetUp({ hasAccounts }: Lookup): boolean {
    return hasAccounts || this.#settings.adminPassword !== null || this.#settings.htpasswd.size > 0;
  }

  async #recognise(shown: Shown, lookup: Lookup, origin: string, client: Client): Promise<Recognised | null> {
    const token = parseToken(shown.password);
    if (token !== null) return this.#byToken(token.hash, lookup);
    const login = await this.#tokens.verifyLogin(shown.password, origin);
    if (login !== null) {
      const trusts = login.trust.split(' ').map((id) => accountsOf(this.#env).hasTrust(id));
      const isTrusted = (await Promise.all(trusts)).every(Boolean);
      const loginRules = [...login.rules, ...lookup.rules.filter(isForAll)];
      return isTrusted ? { subject: login.subject, rules: loginRules, limits: null } : null;
    }
    if (lookup.trusts.length > 0) {
      const { subject, rules } = await this.#trusts.verify(shown.password, lookup.trusts);
      return { subject, rules: [...rules, ...lookup.rules.filter(isForAll)], limits: null };
    }
    this.#refuseWeakAdmin(shown);
    await this.#begin(shown, lookup, client);
    return this.#byPassword(shown, lookup);
  }

  /** A password that is guessed at once is no login, however right it is; all others go on working. Throws UNAVAILABLE. */
  #refuseWeakAdmin({ name }: Shown): void {
    const { adminPassword, adminWeakness } = this.#settings;
    if (name !== ADMIN || adminPassword === null || adminWeakness === null) return;
    throw new OciError('UNAVAILABLE', {
      message: `logins as admin are refused: the setting ADMIN_PASSWORD is too weak. A password ${adminWeakness}. Set another one`,
    });
  }

  /** Before a slow hash: of many attempts at once, only so many are tried. Throws TOOMANYREQUESTS. */
  async #begin({ name, password }: Shown, { user }: Lookup, { address }: Client): Promise<void> {
    const { adminPassword, htpasswd } = this.#settings;
    const isAdmin = name === ADMIN && adminPassword !== null;
    const stored = isAdmin ? ADMIN_MARK : (htpasswd.get(name) ?? user?.password ?? null);
    for (let tries = 0; ; tries++) {
      if (stored !== null && this.#matched.has(this.#markOf(password, stored))) return;
      if (await accountsOf(this.#env).mayTry(withoutSecrets(name), address)) return;
      // Of several with the right password, the first is enough for all.
      if (tries === LOGIN_TRIES) throw tooManyAttempts(1000);
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }

  #markOf(password: string, stored: string): string {
    return createHmac('sha256', this.#key)
      .update(JSON.stringify([password, stored]))
      .digest('base64');
  }

  #byToken(hash: string, { token, user, rules }: Lookup): Recognised | null {
    if (token === null || !equal(hash, token.hash)) return null;
    if (token.expiresAt !== null && token.expiresAt <= Date.now()) {
      throw new ExpiredToken(token.name);
    }
    const own = token.grants.map((grant, at): Rule => {
      return { ...grant, id: `token ${token.name} ${at + 1}`, subject: `token:${token.name}` };
    });
    if (token.owner === null)
      return { subject: `token:${token.name}`, rules: [...rules, ...own], limits: null };
    const ownerRules = this.rulesOf(token.owner, user, rules);
    if (ownerRules === null) return null;
    // What is public stays so for a narrowed token: without one, its holder could pull it.
    const limits = token.grants.length === 0 ? null : [...token.grants, ...rules.filter(isAnonymous)];
    return { subject: `user:${token.owner}`, rules: ownerRules, limits };
  }

  async #byPassword(shown: Shown, { user, rules }: Lookup): Promise<Recognised | null> {
    const { name, password } = shown;
    const own = this.rulesOf(name, user, rules);
    const { adminPassword, htpasswd } = this.#settings;
    // Where a setting names the admin, no other password is the admin's.
    const isAdmin = name === ADMIN && adminPassword !== null;
    const stored = isAdmin ? null : (htpasswd.get(name) ?? user?.password ?? null);
    const matches =
      (isAdmin && equal(password, adminPassword)) ||
      (stored === null ? await pretendToVerify(password) : await this.#matches(password, stored));
    if (!matches) await this.#evenOut(name, password);
    else if (isAdmin) this.#remember(this.#markOf(password, ADMIN_MARK));
    return matches && own !== null ? { subject: `user:${name}`, rules: own, limits: null } : null;
  }

  /** Beside an htpasswd file, what is wrong costs a hash of either kind: the time tells nobody who is in the file. */
  async #evenOut(name: string, password: string): Promise<void> {
    const { htpasswd, adminPassword } = this.#settings;
    const [example] = htpasswd.values();
    if (example === undefined) return;
    const isOfFile = htpasswd.has(name) && !(name === ADMIN && adminPassword !== null);
    await (isOfFile ? pretendToVerify(password) : verifyPassword(password, example));
  }

  /** The rules of a user; null for one that is not known, or no longer let in. */
  rulesOf(name: string, user: User | null, rules: Rule[]): Rule[] | null {
    const { adminPassword, htpasswd, htpasswdRole } = this.#settings;
    if (name === ADMIN && adminPassword !== null)
      return [everywhere('admin', 'ADMIN_PASSWORD', name), ...rules];
    if (htpasswd.has(name)) {
      return htpasswdRole === null ? rules : [everywhere(htpasswdRole, 'HTPASSWD', name), ...rules];
    }
    return user === null || user.disabled ? null : rules;
  }

  async #matches(password: string, stored: string): Promise<boolean> {
    const mark = this.#markOf(password, stored);
    if (this.#matched.has(mark)) return true;
    if (!(await verifyPassword(password, stored))) return false;
    this.#remember(mark);
    return true;
  }

  #remember(mark: string): void {
    if (this.#matched.size >= PASSWORDS_REMEMBERED) this.#matched.clear();
    this.#matched.add(mark);
  }

  #lookup(query: LookupQuery): Promise<Lookup> {
    return accountsOf(this.#env).lookup(query) as Promise<Lookup>;
  }
}

/** The secret was right: a robot that nobody has looked after slows nobody down. */
class ExpiredToken extends OciError {
  constructor(name: string) {
    super('UNAUTHORIZED', { message: `the token ${name} has expired: make a new one` });
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

/** Texts of any lengths, without telling by its time how much of a guess was right. */
function equal(a: string, b: string): boolean {
  const [left, right] = [a, b].map((text) => createHmac('sha256', 'equal').update(text).digest());
  return left !== undefined && right !== undefined && timingSafeEqual(left, right);
}

function tooManyAttempts(waitMs: number): OciError {
  const seconds = Math.ceil(waitMs / 1000);
  return new OciError('TOOMANYREQUESTS', {
    message: `too many failed logins: try again in ${seconds === 1 ? 'a second' : `${seconds} seconds`}`,
    headers: { 'Retry-After': String(seconds) },
  });
}
