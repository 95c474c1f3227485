/**
 * Where a client fetches a blob: at a signed URL of the blob host, whose bytes the CDN has, or here. The specification lets
 * a registry redirect ("Pulling blobs"); which requests had better not be redirected is known of real clients.
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

  /** The URL to redirect a GET to, or null where it is to be answered directly. */
  async locate(blob: StoredBlob, request: Request): Promise<string | null> {
    if (this.#settings.mode === 'stream' || blob.size < REDIRECT_MIN_BYTES) return null;
    return asksForBytes(blob, request) || this.#wantsStream(request) ? null : this.urlOf(blob, request);
  }

  /** The signed URL of a blob, on the blob host that is set. */
  async urlOf(blob: StoredBlob, request: Request): Promise<string> {
    if (this.#presigner !== null) return this.#presigner.sign(blob.key);
    const { blobHost } = this.#settings;
    return blobHost === null
      ? `${originOf(request)}${await this.#signer.sign(blobPath(blob))}`
      : `${blobHost}${await this.#signer.sign(`/${blob.key}`)}`;
  }

  /** A blob that the CDN keeps. */
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
 * Requests that are worth no redirect: `bytes=0-1`, by which lazy pulling clients see whether ranges work, and several ranges
 * at once, which a CDN answers with the whole.
 */
function asksForBytes({ digest }: StoredBlob, request: Request): boolean {
  const range = rangeHeaderOf(request, digest)?.replace(/\s/g, '').toLowerCase();
  return range === 'bytes=0-1' || range?.includes(',') === true;
}
