/**
 * Stores blobs in the bucket of the registry itself, past the Worker and its limit on bodies. The registry gives a grant for each blob,
 * checks what was stored, and links it. Where that fails, blobs go through the registry. docs/direct-uploads.md.
 */
import { algorithmOf, type Digest } from '../../worker/oci/digest.ts';
import { type Grant, grantIn, isGranted, type PartsGrant, type PutGrant } from './direct-grant.ts';
import { storeParts } from './direct-parts.ts';
import type { Outcome } from './events.ts';
import { type Answer, ConnectionLost, discard, send } from './http.ts';
import { pull, pullPush, type Registry, RegistryError } from './registry.ts';
import { S3Refusal, sendToS3 } from './s3.ts';
import { ChunkedUpload, ChunkLimit, type Content, checksDigest } from './upload.ts';

/** Smaller blobs take fewer requests through the registry. */
const DIRECT_MIN_BYTES = 16 * 1024 * 1024;
/** R2 takes single objects of up to 4.995 GiB ("R2: Limits"). */
const PUT_MAX_BYTES = Math.floor(4.9 * 1024 ** 3);
/** Firewalls drop packets without an answer. The bucket answers anything within this time, or blobs go through the registry. */
const REACH_MS = 5000;
/** A PUT that is cut off after this many bytes is tried again in parts. */
const WORTH_PARTS_BYTES = 8 * 1024 * 1024;

export interface DirectOptions {
  /** Gets one sentence if the bucket cannot be reached, or refuses. */
  readonly report: (message: string) => void;
  /** Of uploads that go through the registry. */
  readonly limit: ChunkLimit;
  /** In bytes. */
  readonly minBytes?: number | undefined;
  readonly putMaxBytes?: number | undefined;
  readonly partBytes?: number | undefined;
  readonly reachMs?: number | undefined;
}

interface DirectBlob {
  readonly digest: Digest;
  /** In bytes. */
  readonly size: number;
}

export interface DirectContent extends Content {
  readonly descriptor: DirectBlob;
}

export interface DirectPush {
  /** A repository of the same registry that has the blob. Without it, the registry may look for one. */
  mountFrom?: string | null;
  /** The location of an upload that an earlier process began. */
  resumeFrom?: string | null;
  /** Bytes will be sent. */
  begun?(): void;
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
  #reached: Promise<void> | null = null;

  constructor(registry: Registry, options: DirectOptions) {
    this.#registry = registry;
    this.#options = options;
  }

  /** Whether a blob is worth to be stored this way, as far as it is known. */
  takes({ digest, size }: DirectBlob): boolean {
    const { minBytes = DIRECT_MIN_BYTES } = this.#options;
    return this.#isOpen && size >= minBytes && algorithmOf(digest) === 'sha256';
  }

  /**
   * Stores a blob and links it, or links that of another repository. If it has to go through the registry, because the bucket or the
   * registry has no such way: the upload that the registry has started, or null.
   *
   * Throws RegistryError; with the code DIGEST_INVALID if the bytes have another digest.
   * Throws UploadLost.
   * Throws SourceChanged, and what `open` throws.
   */
  async push(
    repository: string,
    blob: DirectContent,
    push: DirectPush = {},
  ): Promise<Outcome | ChunkedUpload | null> {
    const { size } = blob.descriptor;
    let inParts = size > (this.#options.putMaxBytes ?? PUT_MAX_BYTES);
    let upload: DirectUpload | ChunkedUpload | 'linked' | null = push.resumeFrom
      ? await this.#resume(repository, blob.descriptor, push.resumeFrom)
      : null;
    while (this.#isOpen) {
      upload ??= await this.#start(repository, blob.descriptor, inParts, push.mountFrom ?? null);
      if (upload === 'linked') return 'linked';
      if (upload === null || upload instanceof ChunkedUpload) {
        this.#isOpen = false;
        return upload;
      }
      push.begun?.();
      try {
        this.#reached ??= reach(upload.url, this.#options.reachMs ?? REACH_MS, this.#registry.signal);
        await this.#reached;
        await upload.store(blob, push);
        return 'sent';
      } catch (error) {
        if (!(error instanceof CutOff) && !(error instanceof WayFailed)) throw error;
        await upload.cancel();
        if (error instanceof WayFailed) this.#close(error.message);
      }
      upload = null;
      inParts = true;
    }
    return null;
  }

  /** An upload without a grant if the registry gives none, and null if this client does not understand it. */
  async #start(
    repository: string,
    blob: DirectBlob,
    inParts: boolean,
    mountFrom: string | null,
  ): Promise<DirectUpload | ChunkedUpload | 'linked' | null> {
    const query = new URLSearchParams({
      mount: blob.digest,
      ...(mountFrom === null ? {} : { from: mountFrom }),
    });
    const path = `/v2/${repository}/blobs/uploads/?${query}`;
    const scope = mountFrom === null ? pullPush(repository) : `${pullPush(repository)} ${pull(mountFrom)}`;
    const headers = announcement(blob, inParts);
    const answer = await this.#registry.request({ method: 'POST', path, scope, headers });
    if (answer.status === 201) {
      discard(answer);
      return 'linked';
    }
    if (answer.status !== 202) throw await this.#registry.failure(answer, 'POST of an upload');
    const location = answer.header('Location');
    if (isGranted(answer) || location === null) return this.#opened(answer, repository, blob, false);
    discard(answer);
    // Without its bytes, the registry would count it as one that a front has refused.
    const url = new URL(location, new URL(path, this.#registry.origin)).href;
    const upload = ChunkedUpload.started(this.#registry, repository, this.#options.limit, url);
    upload.checksDigest = checksDigest(answer);
    return upload;
  }

  /** Null if the registry does not know the upload any more. */
  async #resume(repository: string, blob: DirectBlob, location: string): Promise<DirectUpload | null> {
    if (!URL.canParse(location) || new URL(location).origin !== this.#registry.origin) return null;
    const headers = announcement(blob, true);
    const scope = pullPush(repository);
    const answer = await this.#registry.request({ method: 'GET', path: location, scope, headers });
    if (answer.status === 200) return this.#opened(answer, repository, blob, true);
    discard(answer);
    return null;
  }

  async #opened(
    answer: Answer,
    repository: string,
    blob: DirectBlob,
    isResumed: boolean,
  ): Promise<DirectUpload | null> {
    const grant = await grantIn(answer, this.#registry.origin);
    const place = answer.header('Location');
    if (grant === null || place === null) return null;
    const location = new URL(place, this.#registry.origin).href;
    const about = { repository, ...blob, location, grant, isResumed, partBytes: this.#options.partBytes };
    return new DirectUpload(this.#registry, about);
  }

  #close(reason: string): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#options.report(
      `Blobs cannot be stored in the bucket directly (${reason}), so they go through ${this.#registry.origin}. longshore doctor says more.`,
    );
  }
}

/** An upload that the registry has given a grant for. */
interface OpenUpload extends DirectBlob {
  readonly repository: string;
  readonly location: string;
  readonly grant: Grant;
  readonly isResumed: boolean;
  readonly partBytes: number | undefined;
}

class DirectUpload {
  readonly #registry: Registry;
  readonly #upload: OpenUpload;

  constructor(registry: Registry, upload: OpenUpload) {
    this.#registry = registry;
    this.#upload = upload;
  }

  /** Of the object in the bucket. */
  get url(): string {
    return this.#upload.grant.url;
  }

  async store(content: Content, push: DirectPush): Promise<void> {
    let handed = 0;
    const sent = (bytes: number) => {
      handed += bytes;
      push.sent?.(handed);
    };
    const { grant, location } = this.#upload;
    try {
      if (grant.way === 'put') await this.#put(grant, content, sent);
      else {
        await push.resumable?.(location);
        await this.#parts(grant, content, sent);
      }
    } catch (error) {
      if (error instanceof S3Refusal || error instanceof ConnectionLost) throw new WayFailed(error.message);
      throw error;
    }
    await this.#commit();
  }

  cancel(): Promise<void> {
    return this.#atRegistry().cancel();
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
        if (error instanceof S3Refusal && error.isOtherContent)
          throw otherContent(error, this.#upload.digest);
        if (!isCut || !isFirst) throw error;
        handed = 0;
      }
    }
  }

  #parts(grant: PartsGrant, content: Content, sent: (bytes: number) => void): Promise<void> {
    const { isResumed, partBytes } = this.#upload;
    const renew = () => this.#renewed();
    return storeParts(content, grant, { renew, signal: this.#registry.signal, sent, isResumed, partBytes });
  }

  async #renewed(): Promise<PartsGrant> {
    const { repository, location: path } = this.#upload;
    const headers = announcement(this.#upload, true);
    const scope = pullPush(repository);
    const answer = await this.#registry.request({ method: 'GET', path, scope, headers });
    if (answer.status !== 200) throw await this.#registry.failure(answer, 'GET of an upload');
    const grant = await grantIn(answer, this.#registry.origin);
    if (grant?.way === 'parts') return grant;
    throw new WayFailed('the registry did not renew its grant');
  }

  /** The registry checks what was stored. */
  async #commit(): Promise<void> {
    try {
      await this.#atRegistry().commit(this.#upload.digest);
    } catch (error) {
      if (error instanceof RegistryError && error.code === 'BLOB_UPLOAD_INVALID')
        throw new WayFailed(error.message);
      throw error;
    }
  }

  #atRegistry(): ChunkedUpload {
    const { repository, location } = this.#upload;
    return ChunkedUpload.started(this.#registry, repository, new ChunkLimit(), location);
  }
}

/** Throws WayFailed if the host of the bucket does not answer. Its answer does not matter. */
async function reach(url: string, ms: number, signal: AbortSignal | undefined): Promise<void> {
  const timeout = AbortSignal.timeout(ms);
  const both = signal === undefined ? timeout : AbortSignal.any([signal, timeout]);
  const { origin, host } = new URL(url);
  try {
    discard(await send({ method: 'HEAD', url: `${origin}/`, signal: both }));
  } catch (error) {
    signal?.throwIfAborted();
    throw new WayFailed(timeout.aborted ? `${host} does not answer` : reasonOf(error));
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function announcement({ digest, size }: DirectBlob, inParts: boolean): Record<string, string> {
  return { 'Longshore-Direct': `${digest}; size=${size}${inParts ? '; parts' : ''}` };
}

function otherContent(error: S3Refusal, digest: Digest): RegistryError {
  return new RegistryError(
    `${error.message}: the bytes do not have the digest ${digest}`,
    error.status,
    'DIGEST_INVALID',
  );
}
