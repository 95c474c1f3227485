/**
 * The keys that sign tokens, and the revocations. `Accounts` creates, stores and rotates the keys. An isolate holds a
 * copy, so it verifies tokens without another request. A new key is published long before it signs.
 */

import { waitUntil } from 'cloudflare:workers';
import { importJWK, type JWK } from 'jose';
import { accessChanges } from '../../access/access-change.ts';
import type { SigningKey } from '../../access/model.ts';
import type { Env } from '../../env.ts';
import { platformOf } from '../../platform.ts';
import { accountsOf } from '../../stubs.ts';

/**
 * An isolate asks for the keys and the revocations again after this long, in the background before that. So long does a
 * credential that was revoked still work at other locations; on one machine it ends at once.
 */
const ACCESS_STATE_LIFETIME_MS = 30 * 1000;
const ACCESS_STATE_REFRESHED_MS = 20 * 1000;
/** While `Accounts` does not answer, what an isolate knows is used for so long. */
const ACCESS_STATE_STALE_MAX_MS = 5 * 60 * 1000;
/** On one machine changes are told, and only the rotation of keys has to be noticed. */
const KEY_RING_LIFETIME_MS = 3600 * 1000;
/** A key that an isolate does not know is asked for no sooner than this. */
const KEY_RING_RETRY_MS = 10 * 1000;

export const ALGORITHM = 'ES256';

interface Ring {
  keys: SigningKey[];
  /** Tokens of a lower revision are revoked. */
  floor: number;
  revision: number;
  /** Subject -> the lowest revision of its tokens that is not revoked. */
  subjects: Record<string, number>;
  fetchedAt: number;
  /** The value of `accessChanges` before `Accounts` was asked. */
  changes: number;
}

export class KeyRing {
  readonly #env: Env;
  readonly #imported = new Map<string, CryptoKey>();
  readonly #listeners: (() => void)[] = [];
  #ring: Ring | null = null;
  #refreshedAt = 0;

  constructor(env: Env) {
    this.#env = env;
  }

  /** Calls the listener when tokens were revoked or keys have changed, so that it can forget what it remembers of them. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /**
   * Refreshes the copy if it is older than ACCESS_STATE_LIFETIME_MS. A request that finds it half as old refreshes it
   * in the background.
   */
  async refresh(): Promise<void> {
    const ring = await this.#current(this.#lifetime());
    const age = Date.now() - ring.fetchedAt;
    if (platformOf(this.#env).isSingleIsolate || age < ACCESS_STATE_REFRESHED_MS) return;
    if (Math.abs(Date.now() - this.#refreshedAt) < KEY_RING_RETRY_MS) return;
    this.#refreshedAt = Date.now();
    waitUntil(this.#fetch().catch((error) => console.error('the revocations could not be fetched', error)));
  }

  /** Whether a token is revoked. All subjects of a trust are revoked together. */
  isRevoked(subject: string, revision: number): boolean {
    if (this.#ring === null) return false;
    const { floor, subjects } = this.#ring;
    const named = /^trust:[^:]+/.exec(subject)?.[0] ?? subject;
    return revision < Math.max(floor, subjects[named] ?? 0);
  }

  /** The key that signs tokens now. */
  async signing(): Promise<{ kid: string; key: CryptoKey }> {
    const newest = signsNow(await this.#current(this.#lifetime())) ?? signsNow(await this.#fetch());
    if (newest === undefined) throw new Error('there is no key to sign with');
    return { kid: newest.kid, key: await this.#import(newest.kid, newest.privateJwk) };
  }

  /** The public key with an id. Null if it does not exist, also after the copy was refreshed. */
  async verifying(kid: string): Promise<CryptoKey | null> {
    const find = ({ keys }: Ring) => keys.find((key) => key.kid === kid);
    const key = find(await this.#current(this.#lifetime())) ?? find(await this.#current(KEY_RING_RETRY_MS));
    return key === undefined ? null : this.#import(`${kid} public`, key.publicJwk);
  }

  /** The key set at `/.well-known/jwks.json` (RFC 7517, section 5). */
  async published(): Promise<{ keys: JsonWebKey[] }> {
    const { keys } = await this.#current(this.#lifetime());
    return {
      keys: keys.map(({ kid, publicJwk }) => ({ ...publicJwk, kid, alg: ALGORITHM, use: 'sig' })),
    };
  }

  #lifetime(): number {
    return platformOf(this.#env).isSingleIsolate ? KEY_RING_LIFETIME_MS : ACCESS_STATE_LIFETIME_MS;
  }

  /**
   * The copy of the keys and revocations. It is fetched again if it is older than `maxAgeMs`, or has a time in the
   * future because a clock was wrong.
   */
  async #current(maxAgeMs: number): Promise<Ring> {
    const held = this.#ring;
    if (held === null) return this.#fetch();
    const age = Date.now() - held.fetchedAt;
    const hasHeard = platformOf(this.#env).isSingleIsolate && held.changes !== accessChanges();
    if (age >= 0 && age < maxAgeMs && !hasHeard) return held;
    try {
      // Each request fetches for itself: a fetch ends with the request that began it.
      return await this.#fetch();
    } catch (error) {
      if (hasHeard || age < 0 || age > ACCESS_STATE_STALE_MAX_MS) throw error;
      console.error('the revocations could not be fetched', error);
      return held;
    }
  }

  async #fetch(): Promise<Ring> {
    const changes = accessChanges();
    const { keys, revoked } = await accountsOf(this.#env).accessState();
    const { revision, floor, subjects } = revoked;
    const before = this.#ring;
    if (this.#imported.size > 2 * keys.length) this.#imported.clear();
    this.#ring = { keys, revision, floor, subjects, fetchedAt: Date.now(), changes };
    if (before !== null && before.revision !== revision) for (const forget of this.#listeners) forget();
    return this.#ring;
  }

  async #import(name: string, jwk: JsonWebKey): Promise<CryptoKey> {
    const known = this.#imported.get(name);
    if (known !== undefined) return known;
    const key = (await importJWK(jwk as JWK, ALGORITHM)) as CryptoKey;
    this.#imported.set(name, key);
    return key;
  }
}

function signsNow({ keys }: Ring): SigningKey | undefined {
  const now = Date.now();
  return keys.filter(({ signsFrom }) => signsFrom <= now).sort((a, b) => b.signsFrom - a.signsFrom)[0];
}
