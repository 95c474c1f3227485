/**
 * Loads the blobs of a pulled manifest into the cache of the blob host, because the client will ask for them next. It runs after the
 * answer and within limits. If it fails, nothing is lost.
 */
import { waitUntil } from 'cloudflare:workers';
import QuickLRU from 'quick-lru';
import type { Digest } from '../oci/digest.ts';
import { REDIRECT_MIN_BYTES } from '../oci/limits.ts';
import { parseManifest, type StoredManifest } from '../oci/manifest.ts';
import type { Blob, Repository } from '../oci/registry.ts';
import type { DeliverySettings } from '../settings.ts';
import { cachedBlob } from './cached-blobs.ts';
import type { BlobDelivery } from './delivery.ts';

/** What one manifest may prefetch, in bytes together, and how many blobs at a time. */
const PREFETCH_BYTES_MAX = 1024 * 1024 * 1024;
const PREFETCH_AT_A_TIME = 4;

/** Manifests that this isolate has prefetched: once is enough. */
const WARMED_MAX = 5_000;

export class Prefetch {
  readonly #settings: DeliverySettings;
  readonly #delivery: BlobDelivery;
  readonly #warmed = new QuickLRU<string, true>({ maxSize: WARMED_MAX });

  constructor(settings: DeliverySettings, delivery: BlobDelivery) {
    this.#settings = settings;
    this.#delivery = delivery;
  }

  /** Starts a prefetch and does not wait for it. */
  begin(repository: Repository, manifest: StoredManifest & { bytes: Uint8Array }, request: Request): void {
    const { prefetch, mode, cached } = this.#settings;
    // Presigned URLs and one machine have no cache.
    if (prefetch === 0 || mode !== 'redirect' || !cached || this.#warmed.has(manifest.digest)) return;
    this.#warmed.set(manifest.digest, true);
    waitUntil(
      this.#warm(repository, manifest, request).catch((error: unknown) => {
        this.#warmed.delete(manifest.digest);
        console.error(`prefetch of ${repository.name}@${manifest.digest} failed`, error);
      }),
    );
  }

  async #warm(
    repository: Repository,
    manifest: StoredManifest & { bytes: Uint8Array },
    request: Request,
  ): Promise<void> {
    const digests = [...new Set(parseManifest(manifest.bytes, manifest.mediaType).blobs)];
    if (digests.length === 0) return; // An index: the client chooses among its manifests.
    const queue = digests.slice(0, this.#settings.prefetch);
    const done = { blobs: 0, bytes: 0 };
    let allowance = PREFETCH_BYTES_MAX;
    const work = async () => {
      for (let digest = queue.shift(); digest !== undefined; digest = queue.shift()) {
        const blob = await found(repository, digest);
        if (blob === null || blob.size < REDIRECT_MIN_BYTES || blob.size > allowance) continue;
        allowance -= blob.size;
        if (!(await this.#fetch(blob, request))) continue;
        done.blobs++;
        done.bytes += blob.size;
      }
    };
    await Promise.all(Array.from({ length: PREFETCH_AT_A_TIME }, work));
    console.log(
      `prefetch of ${repository.name}@${manifest.digest}: ${done.blobs} of ${digests.length} blobs, ${done.bytes} bytes`,
    );
  }

  /** True where the blob host has read the blob. */
  async #fetch(blob: Blob, request: Request): Promise<boolean> {
    if (!this.#delivery.caches(blob)) return false;
    if (this.#settings.blobHost === null) return drained(await cachedBlob(blob, null));
    const response = await fetch(await this.#delivery.urlOf(blob, request));
    if (response.ok) return drained(response.body);
    await response.body?.cancel();
    return false;
  }
}

/** Null for a blob that is missing or cannot be looked up now. */
function found(repository: Repository, digest: Digest): Promise<Blob | null> {
  return repository.blob(digest).catch(() => null);
}

/** Reads a body to its end, because a cache keeps only whole bodies. */
async function drained(body: ReadableStream<Uint8Array> | null): Promise<boolean> {
  if (body === null) return false;
  await body.pipeTo(new WritableStream());
  return true;
}
