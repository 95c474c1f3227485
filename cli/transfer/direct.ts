/**
 * Stores blobs in the bucket of the registry itself, past the Worker and its limit on bodies. The registry gives a grant for each blob,
 * checks what was stored, and links it. Where that fails, blobs go through the registry. docs/direct-uploads.md.
 */
import { algorithmOf, type Digest } from '../../worker/oci/digest.ts';
import { type Grant, grantIn, type PartsGrant, type PutGrant } from './direct-grant.ts';
import { storeParts } from './direct-parts.ts';
import { ConnectionLost, discard } from './http.ts';
import { pullPush, type Registry, RegistryError } from './registry.ts';
import { S3Refusal, sendToS3 } from './s3.ts';
import { ChunkedUpload, ChunkLimit, type Content } from './upload.ts';

/** Smaller blobs take fewer requests through the registry. */
const DIRECT_MIN_BYTES = 16 * 1024 * 1024;
/** R2 takes single objects of up to 4.995 GiB ("R2: Limits"). */
const PUT_MAX_BYTES = Math.floor(4.9 * 1024 ** 3);
/** A PUT that is cut off after this many bytes is tried again in parts. */
const WORTH_PARTS_BYTES = 8 * 1024 * 1024;

export interface DirectOptions {
  /** Gets one sentence if the bucket cannot be reached, or refuses. */
  readonly report: (message: string) => void;
  /** In bytes. */
  readonly minBytes?: number | undefined;
  readonly putMaxBytes?: number | undefined;
  readonly partBytes?: number | undefined;
}

export interface DirectProgress {
  /** The bytes that were handed to connections. It goes back when bytes are sent again. */
  sent?(bytes: number): void;
  /** The upload can be continued by another process, at this location. */
  resumable?(location: string): Promise<void>;
}

/** The bucket does not take the blob, for a reason that holds for others too. */
class WayFailed extends Error {
  override readonly name = 'WayFailed';
}

/** The connection was cut off in the middle of a PUT. Parts get further. */
class CutOff extends Error {
  override readonly name = 'CutOff';
}

/** One for all blobs of a push, because one failure teaches all. */
export class DirectWay {
  readonly #registry: Registry;
  readonly #options: DirectOptions;
  #isOpen = true;

  constructor(registry: Registry, options: DirectOptions) {
    this.#registry = registry;
    this.#options = options;
  }

  /** Whether a blob is worth to be stored this way, as far as it is known. */
  takes(digest: Digest, size: number): boolean {
    return (
      this.#isOpen && size >= (this.#options.minBytes ?? DIRECT_MIN_BYTES) && algorithmOf(digest) === 'sha256'
    );
  }

  /**
   * Stores a blob and links it. False if it has to go through the registry: the bucket, or the registry, has no such way, or the blob
   * is small. `resumeFrom` is the location of an upload that an earlier process began.
   *
   * Throws RegistryError; with the code DIGEST_INVALID if the bytes have another digest.
   * Throws UploadLost.
   * Throws SourceChanged, and what `content.open` throws.
   */
  async push(
    repository: string,
    digest: Digest,
    content: Content,
    progress: DirectProgress = {},
    resumeFrom: string | null = null,
  ): Promise<boolean> {
    if (!this.takes(digest, content.size)) return false;
    let inParts = resumeFrom !== null || content.size > (this.#options.putMaxBytes ?? PUT_MAX_BYTES);
    for (let location = resumeFrom; ; location = null) {
      const upload = await this.#open(repository, digest, content.size, inParts, location);
      if (upload === null) {
        if (location !== null) continue;
        this.#isOpen = false;
        return false;
      }
      try {
        await upload.store(content, progress);
        return true;
      } catch (error) {
        if (error instanceof CutOff) {
          await upload.cancel();
          inParts = true;
          continue;
        }
        if (!(error instanceof WayFailed)) throw error;
        await upload.cancel();
        this.#close(error.message);
        return false;
      }
    }
  }

  /** Null if the registry gives no grant. */
  async #open(
    repository: string,
    digest: Digest,
    size: number,
    inParts: boolean,
    location: string | null,
  ): Promise<DirectUpload | null> {
    const headers = { 'Longshore-Direct': `${digest}; size=${size}${inParts ? '; parts' : ''}` };
    const asked = {
      method: location === null ? 'POST' : 'GET',
      path: location ?? `/v2/${repository}/blobs/uploads/`,
      scope: pullPush(repository),
      headers,
    };
    const ask = () => this.#registry.request(asked);
    const answer = await ask();
    if (location === null && answer.status !== 202)
      throw await this.#registry.failure(answer, `POST ${asked.path}`);
    if (location !== null && answer.status !== 200) {
      discard(answer);
      return null;
    }
    const grant = await grantIn(answer, this.#registry.origin);
    const place = answer.header('Location');
    if (grant === null || place === null) return null;
    const url = new URL(place, this.#registry.origin).href;
    const isResumed = location !== null;
    return new DirectUpload(
      this.#registry,
      repository,
      { digest, size, headers },
      url,
      grant,
      isResumed,
      this.#options,
    );
  }

  #close(reason: string): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#options.report(
      `Blobs cannot be stored in the bucket directly (${reason}), so they go through ${this.#registry.origin}. longshore doctor says more.`,
    );
  }
}

/** One blob. */
class DirectUpload {
  readonly #registry: Registry;
  readonly #repository: string;
  readonly #blob: { digest: Digest; size: number; headers: Record<string, string> };
  readonly #location: string;
  readonly #grant: Grant;
  readonly #isResumed: boolean;
  readonly #options: DirectOptions;

  constructor(
    registry: Registry,
    repository: string,
    blob: { digest: Digest; size: number; headers: Record<string, string> },
    location: string,
    grant: Grant,
    isResumed: boolean,
    options: DirectOptions,
  ) {
    this.#registry = registry;
    this.#repository = repository;
    this.#blob = blob;
    this.#location = location;
    this.#grant = grant;
    this.#isResumed = isResumed;
    this.#options = options;
  }

  async store(content: Content, progress: DirectProgress): Promise<void> {
    let handed = 0;
    const sent = (bytes: number) => {
      handed += bytes;
      progress.sent?.(handed);
    };
    try {
      if (this.#grant.way === 'put') await this.#put(this.#grant, content, sent);
      else await this.#parts(this.#grant, content, sent, progress);
    } catch (error) {
      if (error instanceof S3Refusal || error instanceof ConnectionLost) throw new WayFailed(error.message);
      throw error;
    }
    await this.#commit();
  }

  cancel(): Promise<void> {
    return this.#upload().cancel();
  }

  async #put({ url, headers }: PutGrant, content: Content, sent: (bytes: number) => void): Promise<void> {
    let handed = 0;
    const body = {
      size: content.size,
      open: () => content.open(0, content.size),
      sent: (bytes: number) => {
        handed += bytes;
        sent(bytes);
      },
    };
    for (let isFirst = true; ; isFirst = false) {
      try {
        return discard(await sendToS3({ method: 'PUT', url, headers, body, signal: this.#registry.signal }));
      } catch (error) {
        const isPut = error instanceof S3Refusal && error.status === 412;
        // An earlier attempt, whose answer was lost, has stored it.
        if (isPut) return;
        sent(-handed);
        const isCut = error instanceof ConnectionLost || (error instanceof S3Refusal && error.isTransient);
        if (isCut && handed >= WORTH_PARTS_BYTES && !isFirst) throw new CutOff(error.message);
        if (error instanceof S3Refusal && error.isOtherContent) throw otherContent(error, this.#blob.digest);
        if (!isCut || !isFirst) throw error;
        handed = 0;
      }
    }
  }

  async #parts(
    grant: PartsGrant,
    content: Content,
    sent: (bytes: number) => void,
    progress: DirectProgress,
  ): Promise<void> {
    await progress.resumable?.(this.#location);
    const { partBytes } = this.#options;
    const renew = () => this.#renewed();
    const { signal } = this.#registry;
    await storeParts(content, grant, { renew, signal, sent, isResumed: this.#isResumed, partBytes });
  }

  async #renewed(): Promise<PartsGrant> {
    const { headers } = this.#blob;
    const scope = pullPush(this.#repository);
    const answer = await this.#registry.request({ method: 'GET', path: this.#location, scope, headers });
    if (answer.status !== 200) throw await this.#registry.failure(answer, 'GET of an upload');
    const grant = await grantIn(answer, this.#registry.origin);
    if (grant?.way === 'parts') return grant;
    throw new WayFailed('the registry did not renew its grant');
  }

  /** The registry checks what was stored. */
  async #commit(): Promise<void> {
    try {
      await this.#upload().commit(this.#blob.digest);
    } catch (error) {
      if (error instanceof RegistryError && error.code === 'BLOB_UPLOAD_INVALID')
        throw new WayFailed(error.message);
      throw error;
    }
  }

  #upload(): ChunkedUpload {
    return ChunkedUpload.started(this.#registry, this.#repository, new ChunkLimit(), this.#location);
  }
}

function otherContent(error: S3Refusal, digest: Digest): RegistryError {
  return new RegistryError(
    `${error.message}: the bytes do not have the digest ${digest}`,
    error.status,
    'DIGEST_INVALID',
  );
}
