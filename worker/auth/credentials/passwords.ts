/**
 * Checks passwords, within a budget: a slow hash is computed only for a name that has one, and only so many in a second. What
 * fails takes the same time for every name, so the time tells nothing about which names exist.
 */
import { createHmac, randomBytes } from 'node:crypto';
import QuickLRU from 'quick-lru';
import type { User } from '../../access/model.ts';
import {
  BCRYPT_ROUND_MS,
  FAILED_LOGIN_MIN_MS,
  HASHES_OF_KNOWN,
  HASHES_OF_STRANGERS,
  PASSWORDS_REMEMBERED,
} from '../../oci/limits.ts';
import { equalSecrets } from '../../oci/secret.ts';
import type { AuthSettings } from '../../settings.ts';
import { ADMIN } from '../configured-users.ts';
import { HashBudget } from './hash-budget.ts';
import { bcryptCostOf, verifyPassword } from './password.ts';

/** Stands for the hash that the password of a setting has none of. */
const ADMIN_MARK = 'ADMIN_PASSWORD';

export class Passwords {
  readonly #settings: AuthSettings;
  /** Passwords that matched a stored hash, by a keyed hash of both: the slow one is paid once. */
  readonly #matched = new QuickLRU<string, true>({ maxSize: PASSWORDS_REMEMBERED });
  /** Logins that failed, likewise: the same again is no guess. */
  readonly #failed = new QuickLRU<string, true>({ maxSize: PASSWORDS_REMEMBERED });
  readonly #key = randomBytes(32);
  readonly #strangers = new HashBudget(HASHES_OF_STRANGERS.burst, HASHES_OF_STRANGERS.perSecond);
  readonly #known = new HashBudget(HASHES_OF_KNOWN.burst, HASHES_OF_KNOWN.perSecond);
  readonly #failureMs: number;

  constructor(settings: AuthSettings) {
    this.#settings = settings;
    const costs = [...settings.htpasswd.values()].map(bcryptCostOf);
    this.#failureMs = Math.max(FAILED_LOGIN_MIN_MS, ...costs.map((cost) => 2 ** cost * BCRYPT_ROUND_MS));
  }

  /** Whether a password matched here before, and so costs no hash. */
  hasMatched(name: string, password: string, user: User | null): boolean {
    const stored = this.#storedOf(name, user);
    return stored !== null && this.#matched.has(this.#markOf(password, stored));
  }

  /** Whether the same login has failed here before, and nothing has changed since: trying it again would tell nobody more. */
  hasFailed(name: string, password: string, user: User | null): boolean {
    return this.#failed.has(this.#markOfFailure(name, password, user));
  }

  rememberFailure(name: string, password: string, user: User | null): void {
    this.#failed.set(this.#markOfFailure(name, password, user), true);
  }

  /** Whether a check computes no slow hash, for a name that has a password: what matched before, and the password of a setting. */
  isFree(name: string, password: string, user: User | null): boolean {
    return this.#storedOf(name, user) === ADMIN_MARK || this.hasMatched(name, password, user);
  }

  /** The budget of those who have logged in from where they are, or of all others. */
  budget(isNew: boolean): HashBudget {
    return isNew ? this.#strangers : this.#known;
  }

  async matches(name: string, password: string, user: User | null): Promise<boolean> {
    const stored = this.#storedOf(name, user);
    if (stored === null) return false;
    const mark = this.#markOf(password, stored);
    if (this.#matched.has(mark)) return true;
    const { adminPassword } = this.#settings;
    const isRight =
      stored === ADMIN_MARK
        ? adminPassword !== null && equalSecrets(password, adminPassword)
        : await verifyPassword(password, stored);
    if (!isRight) return false;
    this.#matched.set(mark, true);
    return true;
  }

  /** To be called before a check, and awaited when it has failed: real time passes while a hash is computed. */
  failure(): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, this.#failureMs));
  }

  /** Where a setting names the admin, no other password is the admin's. */
  #storedOf(name: string, user: User | null): string | null {
    const { adminPassword, htpasswd } = this.#settings;
    if (name === ADMIN && adminPassword !== null) return ADMIN_MARK;
    return htpasswd.get(name) ?? user?.password ?? null;
  }

  #markOf(password: string, stored: string): string {
    return this.#mark([password, stored]);
  }

  /** A name without a password fails like one that has another, and a user who is enabled again may log in. */
  #markOfFailure(name: string, password: string, user: User | null): string {
    return this.#mark([name, password, this.#storedOf(name, user), user?.disabled ?? null]);
  }

  #mark(of: (string | boolean | null)[]): string {
    return createHmac('sha256', this.#key).update(JSON.stringify(of)).digest('base64');
  }
}
