/**
 * What a client gets to store the bytes of one upload in the bucket itself, past the Worker. A grant is for one key, for minutes, and
 * cannot replace an object that is there: what the registry has verified stays as it is.
 */
import { AwsClient } from 'aws4fetch';
import { algorithmOf, type Digest, encodedOf } from '../oci/digest.ts';
import type { S3Bucket } from '../settings.ts';
import { type TemporaryCredentials, temporaryCredentials } from './temporary-credentials.ts';

/** How long a grant is valid. R2 compares the time when a request begins. */
const GRANT_LIFETIME_S = 15 * 60;

interface Validity {
  /** Unix time, s. Clients whose clock is wrong sign with this one. */
  issuedAt: number;
  /** Unix time, s. */
  expiresAt: number;
}

/** One PUT of the whole content. R2 compares the bytes with the checksum in the signed headers. */
export interface PutGrant extends Validity {
  way: 'put';
  url: string;
  /** The request must have exactly these. */
  headers: Record<string, string>;
}

/** The parts of a multipart upload that the registry has begun. */
export interface PartsGrant extends TemporaryCredentials, Validity {
  way: 'parts';
  url: string;
  uploadId: string;
}

/** What containerd's pusher says of every blob. */
const DATA = { 'content-type': 'application/octet-stream' };

export type DirectGrant = PutGrant | PartsGrant;

export class DirectGrants {
  readonly #bucket: S3Bucket;
  readonly #client: AwsClient;

  constructor(bucket: S3Bucket) {
    this.#bucket = bucket;
    const { accessKeyId, secretAccessKey } = bucket;
    this.#client = new AwsClient({ accessKeyId, secretAccessKey, service: 's3', region: 'auto' });
  }

  /** `https://<account>.r2.cloudflarestorage.com/<bucket>`. */
  get bucketUrl(): string {
    return this.#bucket.url;
  }

  /** For content with this sha256 digest, under a key that has no object yet. */
  put(key: string, digest: Digest): Promise<PutGrant> {
    return this.#put(
      key,
      {},
      {
        // The headers that R2Blobs stores with each object.
        'content-disposition': 'attachment',
        'content-type': 'application/octet-stream',
        // Without it, another PUT could change these headers later.
        'if-none-match': '*',
        'x-amz-checksum-sha256': checksumOf(digest),
      },
    );
  }

  /**
   * With the checksum in the signed query, for clients of the containerd family, which send only this header. They add parameters to
   * the URL, which must be signed too. Whether R2 compares such a checksum is not documented: `longshore doctor` tries it.
   */
  putByQuery(key: string, digest: Digest, added: Record<string, string>): Promise<PutGrant> {
    return this.#put(key, { 'x-amz-checksum-sha256': checksumOf(digest), ...added }, DATA);
  }

  async #put(key: string, query: Record<string, string>, headers: Record<string, string>): Promise<PutGrant> {
    const valid = validity();
    const datetime = new Date(valid.issuedAt * 1000).toISOString().replace(/[-:]|\.\d{3}/g, '');
    const parameters = new URLSearchParams({ ...query, 'X-Amz-Expires': String(GRANT_LIFETIME_S) });
    const url = `${this.#urlOf(key)}?${parameters}`;
    const aws = { signQuery: true, allHeaders: true, datetime };
    const signed = await this.#client.sign(url, { method: 'PUT', headers, aws });
    return { way: 'put', url: signed.url, headers, ...valid };
  }

  /** Its credentials can neither begin another upload of the key nor write the object at once. */
  async parts(key: string, uploadId: string): Promise<PartsGrant> {
    const valid = validity();
    const credentials = await temporaryCredentials(this.#bucket, {
      key,
      actions: ['UploadPart', 'ListParts', 'CompleteMultipartUpload'],
      ...valid,
    });
    return { way: 'parts', url: this.#urlOf(key), uploadId, ...valid, ...credentials };
  }

  #urlOf(key: string): string {
    return `${this.#bucket.url}/${key}`;
  }
}

/** Whether R2 can compare content with this digest. */
export function isChecksum(digest: Digest): boolean {
  return algorithmOf(digest) === 'sha256';
}

function checksumOf(digest: Digest): string {
  const pairs = encodedOf(digest).match(/../g) ?? [];
  return btoa(String.fromCharCode(...pairs.map((pair) => Number.parseInt(pair, 16))));
}

function validity(): Validity {
  const issuedAt = Math.floor(Date.now() / 1000);
  return { issuedAt, expiresAt: issuedAt + GRANT_LIFETIME_S };
}
