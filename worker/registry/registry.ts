/** The registry of the seam, on Durable Objects and a blob store. */

import { waitUntil } from 'cloudflare:workers';
import type { Env } from '../env.ts';
import type { Listing, Page } from '../oci/page.ts';
import type { RepositoryName } from '../oci/reference.ts';
import type { Registry, Repository } from '../oci/registry.ts';
import { platformOf } from '../platform.ts';
import { catalogOf } from '../stubs.ts';
import { cacheLifetime, EdgeCache } from './edge-cache.ts';
import type { Keys } from './keys.ts';
import { DurableRepository } from './repository.ts';
import { UploadIds } from './upload-id.ts';

export class DurableRegistry implements Registry {
  readonly #env: Env;
  readonly #uploadIds: UploadIds;
  #edge: EdgeCache | null | undefined;

  constructor(env: Env, keys: Keys) {
    this.#env = env;
    this.#uploadIds = new UploadIds(keys);
  }

  /** Throws UNAVAILABLE where a setting of the cache is wrong. */
  repository(name: RepositoryName): Repository {
    if (this.#edge === undefined) this.#edge = edgeCacheOf(this.#env);
    return new DurableRepository(this.#env, this.#uploadIds, this.#edge, name);
  }

  async catalog(page: Page): Promise<Listing<string>> {
    return catalogOf(this.#env).list(page.count, page.last);
  }
}

/** Null on one machine, where memory is exact, and where the setting turns the cache off. */
function edgeCacheOf(env: Env): EdgeCache | null {
  if (!platformOf(env).hasCache) return null;
  const lifetime = cacheLifetime(env);
  return lifetime === 0
    ? null
    : new EdgeCache({ lifetime, open: () => caches.open('longshore'), later: waitUntil });
}
