/** The class of the Accounts object. Each kind of what it keeps has its own file beside this one. */
import { DurableObject } from 'cloudflare:workers';
import type {
  AccessState,
  Lookup,
  LookupQuery,
  Person,
  Policy,
  Rule,
  SigningKey,
  Subject,
  Token,
  Trust,
  User,
} from '../../worker/access/model.ts';
import type { Env } from '../../worker/env.ts';
import type { AccountsObject, NewPolicy, SignInOutcome, UserPut } from '../../worker/objects/accounts.ts';
import type { Listing, Page } from '../../worker/oci/page.ts';
import { Alarm } from '../alarm.ts';
import { migrate } from '../migrations.ts';
import { firstRow } from '../rows.ts';
import { Attempts } from './attempts.ts';
import { RegistryKeys } from './keys.ts';
import { isRight, subjectsOf } from './lookup.ts';
import { People } from './people.ts';
import { Replays } from './replays.ts';
import { REVOCATION_KEPT_MS, Revocations } from './revocations.ts';
import { Rules } from './rules.ts';
import { ACCOUNTS_MIGRATIONS } from './schema.ts';
import { SignIns } from './sign-ins.ts';

/** The shortest time between two alarms that remove expired rows. */
const ACCOUNTS_SWEEP_MS = 60_000;

export class Accounts extends DurableObject<Env> implements AccountsObject {
  readonly #keys: RegistryKeys;
  readonly #people: People;
  readonly #rules: Rules;
  readonly #attempts: Attempts;
  readonly #replays: Replays;
  readonly #revocations: Revocations;
  readonly #alarm: Alarm;
  readonly #signIns: SignIns;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    const { sql } = ctx.storage;
    migrate(ctx.storage, ACCOUNTS_MIGRATIONS);
    this.#keys = new RegistryKeys(sql);
    this.#people = new People(sql);
    this.#rules = new Rules(sql);
    this.#attempts = new Attempts(sql);
    this.#replays = new Replays(sql);
    this.#revocations = new Revocations(sql);
    this.#alarm = new Alarm(ctx, {
      run: (now) => this.#sweep(now),
      nextDue: (now) => this.#nextSweep(now),
    });
    this.#alarm.check();
    this.#signIns = new SignIns(sql, this.#people);
  }

  secret(purpose: string): Uint8Array {
    return this.#keys.secret(purpose);
  }

  signingKeys(): Promise<SigningKey[]> {
    return this.#keys.signingKeys();
  }

  async accessState(): Promise<AccessState> {
    const keys = await this.#keys.signingKeys();
    return { keys, revoked: this.#revocations.list() };
  }

  async rotateSigningKeys(dropsOld: boolean): Promise<void> {
    await this.#keys.rotate(dropsOld);
    this.#revocations.changed();
  }

  lookup(query: LookupQuery): Lookup {
    const now = Date.now();
    const { account, address, issuer } = query;
    const standing = this.#attempts.standing(account, address, now);
    const token = query.token === null ? null : this.#people.token(query.token);
    const name = token === null ? query.user : token.owner;
    const user = name === null ? null : this.#people.user(name);
    if (standing.waitMs === 0 && standing.hasFailed) this.#attempts.begin(account, address, now);
    if (standing.waitMs === 0 && token !== null && isRight(token, query, now)) this.#people.used(token, now);
    return {
      ...standing,
      user,
      token,
      trusts: issuer === null ? [] : this.#rules.trustsOf(issuer),
      rules: this.#rules.of(subjectsOf(query, name, user, token)),
      policies: this.#rules.policies(),
      hasAccounts: this.#hasAccounts(),
      revision: this.#revocations.revision(),
    };
  }

  mayTryPassword(account: string, address: string): boolean {
    return this.#attempts.mayTry(account, address, Date.now());
  }

  async recordLogin(account: string, address: string, succeeded: boolean): Promise<void> {
    const now = Date.now();
    await this.#alarm.ringBy(now + ACCOUNTS_SWEEP_MS);
    this.ctx.storage.transactionSync(() => {
      if (succeeded) this.#attempts.succeeded(account, address, now);
      else this.#attempts.failed(account, address, now);
    });
  }

  async consume(id: string, expiresAt: number): Promise<boolean> {
    await this.#alarm.ringBy(this.#replays.forgottenAt(expiresAt) + ACCOUNTS_SWEEP_MS);
    return this.#replays.consume(id, expiresAt, Date.now());
  }

  listUsers(page: Page): Listing<User> {
    return this.#people.users(page);
  }

  getUser(name: string): User | null {
    return this.#people.user(name);
  }

  putUser(user: UserPut): Promise<'created' | 'updated' | 'taken'> {
    return this.#revoking(() => {
      const before = this.#people.user(user.name);
      const outcome = this.#people.putUser(user, Date.now());
      const after = this.#people.user(user.name);
      const isSame = before === null || JSON.stringify(before) === JSON.stringify(after);
      return { outcome, revoked: isSame ? [] : [`user:${user.name}`] };
    });
  }

  signIn(person: Person): Promise<SignInOutcome> {
    return this.#revoking(() => {
      const { outcome, isChanged } = this.#signIns.signIn(person, Date.now());
      return { outcome, revoked: isChanged ? [`user:${outcome.name}`] : [] };
    });
  }

  linkSignIn(account: string, to: string): Promise<'linked' | 'no sign-in' | 'no user'> {
    return this.#revoking(() => {
      const outcome = this.#signIns.link(account, to);
      return { outcome, revoked: outcome === 'linked' ? [`user:${account}`] : [] };
    });
  }

  displayNames(names: string[]): Record<string, string> {
    return this.#signIns.displayNames(names);
  }

  deleteUser(name: string): Promise<boolean> {
    return this.#revoking(() => {
      const outcome = this.#people.deleteUser(name);
      return { outcome, revoked: outcome ? [`user:${name}`] : [] };
    });
  }

  deleteTokensOf(owner: string): Promise<number> {
    return this.#revoking(() => {
      return { outcome: this.#people.deleteTokensOf(owner), revoked: [`user:${owner}`] };
    });
  }

  listTokens({ owner }: { owner?: string | null | undefined }, page: Page): Listing<Token> {
    return this.#people.tokens(owner, page);
  }

  listTokensNamed(idOrName: string, page: Page): Listing<Token> {
    return this.#people.tokensNamed(idOrName, page);
  }

  getToken(id: string): Token | null {
    return this.#people.token(id);
  }

  findToken(idOrName: string): Token | null {
    return this.#people.findToken(idOrName);
  }

  createSignInToken(token: Token, others: number): void {
    this.ctx.storage.transactionSync(() => this.#people.createSignInToken(token, others, Date.now()));
  }

  createToken(token: Token, ofSetting = false): 'created' | 'name taken' | 'no owner' {
    return this.#people.createToken(token, ofSetting);
  }

  deleteToken(id: string): Promise<boolean> {
    return this.#revoking(() => {
      const deleted = this.#people.deleteToken(id);
      const subject = deleted?.owner === null ? `token:${deleted.name}` : `user:${deleted?.owner}`;
      return { outcome: deleted !== null, revoked: deleted === null ? [] : [subject] };
    });
  }

  listRules(page: Page): Listing<Rule> {
    return this.#rules.list(page);
  }

  rulesFor(subjects: Subject[]): Rule[] {
    return this.#rules.of(subjects);
  }

  createRule(rule: Omit<Rule, 'id'>): Rule {
    return this.#rules.create(rule);
  }

  deleteRule(id: string): boolean {
    return this.#rules.delete(id);
  }

  listPolicies(): Policy[] {
    return this.#rules.policies();
  }

  createPolicy(policy: NewPolicy): Policy {
    return this.#rules.createPolicy(policy);
  }

  deletePolicy(id: string): boolean {
    return this.#rules.deletePolicy(id);
  }

  listTrusts(): Trust[] {
    return this.#rules.trusts();
  }

  listTrustsNamed(idOrName: string): Trust[] {
    return this.#rules.trustsNamed(idOrName);
  }

  hasTrust(id: string): boolean {
    return this.#rules.hasTrust(id);
  }

  createTrust(trust: Omit<Trust, 'id'>): Trust | 'name taken' {
    return this.#rules.createTrust(trust);
  }

  deleteTrust(id: string): Promise<boolean> {
    return this.#revoking(() => {
      const name = this.#rules.deleteTrust(id);
      return { outcome: name !== null, revoked: name === null ? [] : [`trust:${name}`] };
    });
  }

  override async alarm(): Promise<void> {
    await this.#alarm.ring();
  }

  #sweep(now: number): void {
    this.#attempts.sweep(now);
    this.#replays.sweep(now);
    this.#revocations.sweep(now);
  }

  /** The delay lets one alarm remove many rows. If the last one left expired rows, the next runs immediately. */
  #nextSweep(now: number): number | null {
    const query = `SELECT MIN(at) AS at FROM (SELECT MIN(expires_at) AS at FROM failed_logins
      UNION ALL SELECT MIN(expires_at) FROM consumed UNION ALL SELECT MIN(expires_at) FROM revocations)`;
    const at = firstRow<{ at: number | null }>(this.ctx.storage.sql, query)?.at ?? null;
    return at === null || at <= now ? at : at + ACCOUNTS_SWEEP_MS;
  }

  /** Makes a change and the revocations that follow from it, in one transaction. */
  async #revoking<T>(change: () => { outcome: T; revoked: string[] }): Promise<T> {
    const now = Date.now();
    const { outcome, revoked } = this.ctx.storage.transactionSync(() => {
      const changed = change();
      for (const subject of changed.revoked) this.#revocations.revoke(subject, now);
      return changed;
    });
    if (revoked.length > 0) await this.#alarm.ringBy(now + REVOCATION_KEPT_MS + ACCOUNTS_SWEEP_MS);
    return outcome;
  }

  #hasAccounts(): boolean {
    const query = `SELECT 1 WHERE EXISTS (SELECT 1 FROM users) OR EXISTS (SELECT 1 FROM tokens)
      OR EXISTS (SELECT 1 FROM trusts)`;
    return firstRow(this.ctx.storage.sql, query) !== null;
  }
}
