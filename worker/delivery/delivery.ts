/**
 * Decides where a client fetches a blob: at a signed URL of the blob host, or from the registry itself. The specification allows
 * redirects ("Pulling blobs"). Some requests of real clients are never redirected.
 */
import { REDIRECT_MIN_BYTES } from '../oci/limits.ts';
import { originOf } from '../oci/origin.ts';
import type { StoredBlob } from '../registry/read-blob.ts';
import type { DeliverySettings } from '../settings.ts';
import { rangeHeaderOf } from './content.ts';
import { blobPath } from './path.ts';
import { Presigner } from './presigner.ts';
import type { UrlSigner } from './signature.ts';

/** Cloudflare's cache keeps no larger objects (Free to Business). */
export const CACHED_BLOB_MAX_BYTES = 512 * 1024 * 1024;

export class BlobDelivery {
  readonly #settings: DeliverySettings;
  readonly #signer: UrlSigner;
  readonly #presigner: Presigner | null;

  constructor(settings: DeliverySettings, signer: UrlSigner) {
    this.#settings = settings;
    this.#signer = signer;
    this.#presigner = settings.s3 === null ? null : new Presigner(settings.s3, settings.urls);
  }

  /** The URL to redirect a GET to. Null where the registry sends the bytes itself. */
  async locate(blob: StoredBlob, request: Request): Promise<string | null> {
    if (this.#settings.mode === 'stream' || blob.size < REDIRECT_MIN_BYTES) return null;
    return asksForBytes(blob, request) || this.#wantsStream(request) ? null : this.urlOf(blob, request);
  }

  /** The signed URL of a blob. */
  async urlOf(blob: StoredBlob, request: Request): Promise<string> {
    if (this.#presigner !== null) return this.#presigner.sign(blob.key);
    const { blobHost } = this.#settings;
    return blobHost === null
      ? `${originOf(request)}${await this.#signer.sign(blobPath(blob))}`
      : `${blobHost}${await this.#signer.sign(`/${blob.key}`)}`;
  }

  /** True for a blob that is small enough for the CDN's cache. */
  caches(blob: StoredBlob): boolean {
    return blob.size <= CACHED_BLOB_MAX_BYTES;
  }

  #wantsStream(request: Request): boolean {
    if (request.headers.get('Longshore-Delivery')?.toLowerCase() === 'stream') return true;
    const agent = request.headers.get('User-Agent')?.toLowerCase() ?? '';
    return this.#settings.streamUserAgents.some((part) => agent.includes(part));
  }
}

/**
 * True for requests that a redirect does not help: `bytes=0-1`, with which lazy pulling clients test for ranges, and several ranges
 * at once, to which a CDN sends the whole blob.
 */
function asksForBytes({ digest }: StoredBlob, request: Request): boolean {
  const range = rangeHeaderOf(request, digest)?.replace(/\s/g, '').toLowerCase();
  return range === 'bytes=0-1' || range?.includes(',') === true;
}
