/**
 * Where the edge cache keeps its entries: in the cache of the data centre, which all isolates there share; or in the memory of the
 * isolate, if that cache keeps nothing (on workers.dev).
 */

import { CountedCache, memory } from '../memory/budget.ts';

/** What the edge cache may use in memory, as part of MEMORY_BYTES. */
const EDGE_MEMORY_BYTES = 64 * 1024 * 1024;

/** An answer in the cache. */
export interface CacheEntry<T> {
  /** JSON. */
  about: T;
  /** Empty if the caller did not ask for them. */
  bytes: Uint8Array;
  /** Unix time, in ms. */
  expiresAt: number;
}

/** A store may return expired entries, and may lose entries at any time. */
export interface EdgeStore {
  get(key: string, withBytes: boolean): Promise<CacheEntry<unknown> | null>;
  put(key: string, kept: CacheEntry<unknown>): Promise<void>;
  delete(key: string): Promise<void>;
}

type DataCentreCache = Pick<Cache, 'match' | 'put' | 'delete'>;

/** The cache of the data centre if it returns what is put into it, or else the memory of the isolate. */
export async function chooseStore(open: () => Promise<DataCentreCache>): Promise<EdgeStore> {
  try {
    const cache = await open();
    const url = urlOf(`probe/${crypto.randomUUID()}`);
    await cache.put(url, new Response('here', { headers: { 'Cache-Control': 'max-age=60' } }));
    const found = await cache.match(url);
    await found?.body?.cancel();
    if (found !== undefined) return new DataCentre(cache);
  } catch {
    // A runtime without a cache throws.
  }
  return new IsolateMemory();
}

/** The host does not exist, so no client can ask for an entry. This cache is also separate from that of the zone. */
function urlOf(key: string): string {
  return `https://cache.invalid/${key}`;
}

/** The header with `about` and `expiresAt`, so that they can be read without the body. */
const ENTRY = 'Longshore-Entry';

class DataCentre implements EdgeStore {
  readonly #cache: DataCentreCache;

  constructor(cache: DataCentreCache) {
    this.#cache = cache;
  }

  async get(key: string, withBytes: boolean): Promise<CacheEntry<unknown> | null> {
    const found = await this.#cache.match(urlOf(key));
    if (found === undefined) return null;
    const entry = JSON.parse(decodeURIComponent(found.headers.get(ENTRY) ?? '')) as CacheEntry<unknown>;
    if (withBytes) return { ...entry, bytes: new Uint8Array(await found.arrayBuffer()) };
    await found.body?.cancel();
    return { ...entry, bytes: new Uint8Array() };
  }

  async put(key: string, { about, bytes, expiresAt }: CacheEntry<unknown>): Promise<void> {
    const seconds = Math.ceil((expiresAt - Date.now()) / 1000);
    const headers = {
      'Cache-Control': `max-age=${seconds}`,
      'Content-Type': 'application/octet-stream',
      [ENTRY]: encodeURIComponent(JSON.stringify({ about, expiresAt })),
    };
    await this.#cache.put(urlOf(key), new Response(bytes as BodyInit, { headers }));
  }

  async delete(key: string): Promise<void> {
    await this.#cache.delete(urlOf(key));
  }
}

/** The memory of an entry besides its bytes. */
const ABOUT_BYTES = 600;
const ENTRIES_MAX = 50_000;

class IsolateMemory implements EdgeStore {
  readonly #entries = new CountedCache<CacheEntry<unknown>>(memory, {
    entries: ENTRIES_MAX,
    bytes: EDGE_MEMORY_BYTES,
  });

  async get(key: string): Promise<CacheEntry<unknown> | null> {
    return this.#entries.get(key) ?? null;
  }

  async put(key: string, kept: CacheEntry<unknown>): Promise<void> {
    this.#entries.set(key, kept, kept.bytes.byteLength + ABOUT_BYTES);
  }

  async delete(key: string): Promise<void> {
    this.#entries.delete(key);
  }
}
