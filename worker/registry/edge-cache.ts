/**
 * What is kept at the edge, for a short lifetime: content that was asked for by its digest, and was there. Never a tag, a list
 * or that something is not there. Who may have it was decided before the registry was asked.
 *
 * A delete is honoured at once where it was made: the entry goes, and this isolate takes none for the key until whatever was
 * read before the delete has expired, wherever it is still being written. Elsewhere an entry lives for the lifetime at most,
 * and the bytes for a day longer than their link.
 */
import { type CacheEntry, chooseStore, type EdgeStore } from './edge-stores.ts';

export interface EdgeCacheOptions {
  /** In seconds; more than none. */
  lifetime: number;
  /** Opens the cache of the data centre. */
  open: () => Promise<Pick<Cache, 'match' | 'put' | 'delete'>>;
  /** Takes work that no answer waits for. */
  later: (work: Promise<void>) => void;
}

/** Forgotten keys that are known one by one. Beyond them nothing is taken from the cache for one lifetime. */
const FORGOTTEN_MAX = 10_000;

export class EdgeCache {
  readonly #lifetimeMs: number;
  readonly #options: EdgeCacheOptions;
  /** Until when (Unix time, ms) nothing is taken or kept, by key, in the order of these times. */
  readonly #forgotten = new Map<string, number>();
  #silentUntil = 0;
  #store: EdgeStore | null = null;

  constructor(options: EdgeCacheOptions) {
    this.#options = options;
    this.#lifetimeMs = options.lifetime * 1000;
  }

  /** What was kept as `about` a key, with its bytes if they are asked for, or null. */
  async find<T>(key: string, withBytes: boolean): Promise<CacheEntry<T> | null> {
    const store = await this.#chosen();
    const kept = await store.get(key, withBytes).catch((error: unknown) => {
      console.error('the edge cache did not answer', error);
      return null;
    });
    const now = Date.now();
    // What would live for longer comes of a lifetime that was set before, or of another clock.
    const fresh = kept !== null && kept.expiresAt > now && kept.expiresAt <= now + this.#lifetimeMs;
    return fresh && !this.#isForgotten(key) ? (kept as CacheEntry<T>) : null;
  }

  /** To be called before the repository is asked: what is kept of the answer lives from here. Unix time, in ms. */
  async begin(): Promise<number> {
    await this.#chosen();
    return Date.now();
  }

  /** Keeps what the repository answered. `since` is what `begin` gave. */
  keep(key: string, kept: Omit<CacheEntry<unknown>, 'expiresAt'>, since: number): void {
    const expiresAt = since + this.#lifetimeMs;
    if (this.#store === null || expiresAt <= Date.now() || this.#isForgotten(key)) return;
    this.#options.later(this.#put(this.#store, key, { ...kept, expiresAt }));
  }

  /** To be awaited before a delete is answered. It does not fail: without the cache the isolate still knows. */
  async forget(key: string): Promise<void> {
    const now = Date.now();
    for (const [known, until] of this.#forgotten) {
      if (until > now) break;
      this.#forgotten.delete(known);
    }
    this.#forgotten.delete(key);
    this.#forgotten.set(key, now + this.#lifetimeMs);
    if (this.#forgotten.size > FORGOTTEN_MAX) {
      this.#forgotten.clear();
      this.#silentUntil = now + this.#lifetimeMs;
    }
    const store = await this.#chosen();
    await store.delete(key).catch((error: unknown) => {
      console.error(`the edge cache still has ${key}, until it expires`, error);
    });
  }

  async #put(store: EdgeStore, key: string, kept: CacheEntry<unknown>): Promise<void> {
    try {
      await store.put(key, kept);
      // Forgotten while it was written: this isolate would not take it, but others of the data centre would.
      if (this.#isForgotten(key)) await store.delete(key);
    } catch (error) {
      console.error('the edge cache did not keep what it was given', error);
    }
  }

  #isForgotten(key: string): boolean {
    return Math.max(this.#forgotten.get(key) ?? 0, this.#silentUntil) > Date.now();
  }

  /** Requests that come while nothing is chosen choose each for itself: none waits for another, which may be cut off. */
  async #chosen(): Promise<EdgeStore> {
    if (this.#store !== null) return this.#store;
    const store = await chooseStore(this.#options.open);
    this.#store ??= store;
    return this.#store;
  }
}

/** The key of content in a repository. */
export function edgeKey(name: string, kind: 'blobs' | 'manifests', digest: string): string {
  return `${encodeURIComponent(name)}/${kind}/${encodeURIComponent(digest)}`;
}

/** The key of bytes, by their key in the store: no repository's name begins with an underscore. */
export function bytesKey(storeKey: string): string {
  return `_/${storeKey}`;
}
