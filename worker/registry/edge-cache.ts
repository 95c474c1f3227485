/**
 * The edge cache. It keeps content that was asked for by digest and exists, for a short lifetime. It never keeps tags, lists, or that
 * something does not exist. Access was checked before.
 *
 * A delete takes effect immediately in its isolate: the entry is removed, and the isolate accepts no entry for the key until all entries
 * from before the delete have expired. Elsewhere an entry may live until its lifetime ends. The bytes live a day longer than their
 * link, so they still exist then.
 */
import { type CacheEntry, chooseStore, type EdgeStore } from './edge-stores.ts';

export interface EdgeCacheOptions {
  /** In seconds; at least 1. */
  lifetime: number;
  /** Opens the cache of the data centre. */
  open: () => Promise<Pick<Cache, 'match' | 'put' | 'delete'>>;
  /** Runs work after the answer. */
  later: (work: Promise<void>) => void;
}

/** Deleted keys that an isolate remembers. If there are more, it does not use the cache for one lifetime. */
const FORGOTTEN_MAX = 10_000;

export class EdgeCache {
  readonly #lifetimeMs: number;
  readonly #options: EdgeCacheOptions;
  /** Key -> until when (Unix time, ms) no entry is used or written, in the order of these times. */
  readonly #forgotten = new Map<string, number>();
  #silentUntil = 0;
  #store: EdgeStore | null = null;

  constructor(options: EdgeCacheOptions) {
    this.#options = options;
    this.#lifetimeMs = options.lifetime * 1000;
  }

  /** The entry of a key, with its bytes if `withBytes`. Null if the cache has no entry. */
  async find<T>(key: string, withBytes: boolean): Promise<CacheEntry<T> | null> {
    const store = await this.#chosen();
    const kept = await store.get(key, withBytes).catch((error: unknown) => {
      console.error('the edge cache did not answer', error);
      return null;
    });
    const now = Date.now();
    // An entry with a longer life comes from an earlier setting, or from another clock.
    const fresh = kept !== null && kept.expiresAt > now && kept.expiresAt <= now + this.#lifetimeMs;
    return fresh && !this.#isForgotten(key) ? (kept as CacheEntry<T>) : null;
  }

  /** Call this before asking the repository. The lifetime of the answer begins here (Unix time, ms). */
  async begin(): Promise<number> {
    await this.#chosen();
    return Date.now();
  }

  /** Keeps an answer of the repository. `since` is the result of `begin`. */
  keep(key: string, kept: Omit<CacheEntry<unknown>, 'expiresAt'>, since: number): void {
    const expiresAt = since + this.#lifetimeMs;
    if (this.#store === null || expiresAt <= Date.now() || this.#isForgotten(key)) return;
    this.#options.later(this.#put(this.#store, key, { ...kept, expiresAt }));
  }

  /** Await this before answering a delete. It does not throw: if the cache fails, the isolate still remembers the key. */
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
      // It was deleted while it was being written. Other isolates of the data centre would use the entry.
      if (this.#isForgotten(key)) await store.delete(key);
    } catch (error) {
      console.error('the edge cache did not keep what it was given', error);
    }
  }

  #isForgotten(key: string): boolean {
    return Math.max(this.#forgotten.get(key) ?? 0, this.#silentUntil) > Date.now();
  }

  /** Concurrent first requests each choose a store, because a request must not await a promise of another. */
  async #chosen(): Promise<EdgeStore> {
    if (this.#store !== null) return this.#store;
    const store = await chooseStore(this.#options.open);
    this.#store ??= store;
    return this.#store;
  }
}

/** The cache key of content in a repository. */
export function edgeKey(name: string, kind: 'blobs' | 'manifests', digest: string): string {
  return `${encodeURIComponent(name)}/${kind}/${encodeURIComponent(digest)}`;
}

/** The cache key of bytes. No repository name begins with an underscore. */
export function bytesKey(storeKey: string): string {
  return `_/${storeKey}`;
}
