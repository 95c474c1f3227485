/** The registry of oci/registry.ts, on Durable Objects and a blob store. */

import { waitUntil } from 'cloudflare:workers';
import type { Env } from '../env.ts';
import type { Digest } from '../oci/digest.ts';
import type { Listing, Page } from '../oci/page.ts';
import type { Promoted, Promotion } from '../oci/promotion.ts';
import type { RepositoryName } from '../oci/reference.ts';
import type { Registry, Repository } from '../oci/registry.ts';
import { type Author, NO_AUTHOR } from '../oci/upkeep.ts';
import type { Settings } from '../settings.ts';
import { catalogOf } from '../stubs.ts';
import { EdgeCache, edgeKey } from './edge-cache.ts';
import type { HmacKeys } from './hmac-keys.ts';
import { Promoter } from './promote.ts';
import { DurableRepository, type ManifestRules } from './repository.ts';
import { UploadIds } from './upload-id.ts';

type Options = Pick<Settings, 'cacheLifetime' | 'allowsSparse' | 'directUpload'>;

export class DurableRegistry implements Registry {
  readonly #env: Env;
  readonly #uploadIds: UploadIds;
  readonly #edge: EdgeCache | null;
  readonly #rules: ManifestRules;

  constructor(env: Env, keys: HmacKeys, settings: Options) {
    this.#env = env;
    this.#uploadIds = new UploadIds(keys);
    this.#edge = edgeCacheOf(settings);
    this.#rules = { allowsSparse: settings.allowsSparse, takesArrived: settings.directUpload };
  }

  repository(name: RepositoryName, by: Author = NO_AUTHOR): Repository {
    return new DurableRepository(this.#env, this.#uploadIds, this.#edge, this.#rules, name, by);
  }

  /**
   * One step of a promotion. The caller may pull `from`, push to `to` and set the tags there.
   *
   * Throws NOT_FOUND if there is no such image.
   * Throws DENIED by a lifecycle policy.
   * Throws CONFLICT if the image was deleted meanwhile.
   * Throws UNSUPPORTED for an image that is too large.
   * Throws MANIFEST_BLOB_UNKNOWN if the source lacks a part of the image.
   */
  promote(promotion: Promotion, by: Author): Promise<Promoted> {
    const target = this.repository(promotion.to, by);
    return new Promoter(this.#env, promotion, by, target, this.#rules.allowsSparse).step();
  }

  /** Drops manifests that were deleted from the edge cache, as far as this isolate can. */
  async forgetManifests(name: string, digests: Digest[]): Promise<void> {
    await Promise.all(digests.map((digest) => this.#edge?.forget(edgeKey(name, 'manifests', digest))));
  }

  async catalog(page: Page): Promise<Listing<string>> {
    return catalogOf(this.#env).list(page.count, page.last);
  }
}

function edgeCacheOf({ cacheLifetime: lifetime }: Pick<Settings, 'cacheLifetime'>): EdgeCache | null {
  return lifetime === 0
    ? null
    : new EdgeCache({ lifetime, open: () => caches.open('longshore'), later: waitUntil });
}
