/**
 * Checks passwords within a budget of slow hashes. A hash is computed only if the name has a password. A failed check
 * takes the same time for every name, so the time does not reveal which names exist.
 */
import { createHmac, randomBytes } from 'node:crypto';
import QuickLRU from 'quick-lru';
import type { User } from '../../access/model.ts';
import { equalSecrets } from '../../oci/secret.ts';
import type { AuthSettings } from '../../settings.ts';
import { ADMIN } from '../configured-users.ts';
import { HashBudget } from './hash-budget.ts';
import { bcryptCostOf, verifyPassword } from './password.ts';

/**
 * Slow hashes that an isolate computes: for those who have logged in from their address before, and for all others. One is 160 ms of
 * the one thread.
 */
export const HASHES_OF_STRANGERS = { burst: 10, perSecond: 2 };
export const HASHES_OF_KNOWN = { burst: 10, perSecond: 2 };
/** A failed login takes at least this long, whether a hash was computed or not; in an htpasswd file, for each round of bcrypt. */
const FAILED_LOGIN_MIN_MS = 300;
const BCRYPT_ROUND_MS = 0.15;
/** Results of password checks that an isolate remembers. quick-lru holds up to twice its `maxSize`, as in all its uses. */
const PASSWORDS_REMEMBERED = 2500;

/** Takes the place of a stored hash for the password in ADMIN_PASSWORD. */
const ADMIN_MARK = 'ADMIN_PASSWORD';

export class Passwords {
  readonly #settings: AuthSettings;
  /** Passwords that matched a stored hash, by a keyed hash of both, so that each slow hash is computed once. */
  readonly #matched = new QuickLRU<string, true>({ maxSize: PASSWORDS_REMEMBERED });
  /** Failed logins, also by a keyed hash. To repeat one is not a new guess. */
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

  /** Whether a password has matched before, so that the check needs no slow hash. */
  hasMatched(name: string, password: string, user: User | null): boolean {
    const stored = this.#storedOf(name, user);
    return stored !== null && this.#matched.has(this.#markOf(password, stored));
  }

  /** Whether the same login has failed before with the same stored password. */
  hasFailed(name: string, password: string, user: User | null): boolean {
    return this.#failed.has(this.#markOfFailure(name, password, user));
  }

  rememberFailure(name: string, password: string, user: User | null): void {
    this.#failed.set(this.#markOfFailure(name, password, user), true);
  }

  /** Whether the check needs no slow hash, for a name that has a password. */
  isFree(name: string, password: string, user: User | null): boolean {
    return this.#storedOf(name, user) === ADMIN_MARK || this.hasMatched(name, password, user);
  }

  /** The budget of a client: `isNew` is true if no login from its address has succeeded yet. */
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

  /** Waits as long as a failed check should take. Start it before the check, and await it after a failure. */
  failure(): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, this.#failureMs));
  }

  /** With ADMIN_PASSWORD set, the admin has no other password. */
  #storedOf(name: string, user: User | null): string | null {
    const { adminPassword, htpasswd } = this.#settings;
    if (name === ADMIN && adminPassword !== null) return ADMIN_MARK;
    return htpasswd.get(name) ?? user?.password ?? null;
  }

  #markOf(password: string, stored: string): string {
    return this.#mark([password, stored]);
  }

  /**
   * The mark includes the stored password and whether the user is disabled, so a change of either allows another
   * attempt.
   */
  #markOfFailure(name: string, password: string, user: User | null): string {
    return this.#mark([name, password, this.#storedOf(name, user), user?.disabled ?? null]);
  }

  #mark(of: (string | boolean | null)[]): string {
    return createHmac('sha256', this.#key).update(JSON.stringify(of)).digest('base64');
  }
}
