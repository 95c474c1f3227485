/**
 * Uploads a blob in chunks that pass every limit on request bodies, and continues after lost connections, lost answers and restarts of
 * the registry. Distribution spec, "Pushing a blob in chunks".
 */
import type { Digest } from '../../worker/oci/digest.ts';
import { Backoff } from './backoff.ts';
import { type Answer, type Body, ConnectionLost, discard } from './http.ts';
import { pullPush, type Registry, RegistryError } from './registry.ts';

/** Cloudflare refuses larger bodies on its Free and Pro plans (100 MB). Cloudflare docs, "Workers: limits". */
const WALL_BYTES = 95_000_000;
/** R2 parts of the registry have 7 MiB. Chunks of whole parts leave no rest to carry to the next chunk. */
const PART_BYTES = 7 * 1024 * 1024;
/** A front that refuses even this is not one to push through. */
const CHUNK_SMALLEST_BYTES = 1024 * 1024;
/** Attempts without a byte of progress. */
const ATTEMPTS_MAX = 10;

/** The largest body that the way to a registry takes. One for all uploads to it, because one refusal teaches all. */
export class ChunkLimit {
  /** In bytes. */
  maxBytes: number;

  constructor(maxBytes = Math.floor(WALL_BYTES / PART_BYTES) * PART_BYTES) {
    this.maxBytes = maxBytes;
  }

  /** A body of this size got 413. False if a smaller one cannot help. */
  refused(size: number): boolean {
    if (size <= CHUNK_SMALLEST_BYTES) return false;
    const half = Math.floor(size / 2);
    const whole = Math.floor(half / PART_BYTES) * PART_BYTES;
    this.maxBytes = Math.min(this.maxBytes, Math.max(CHUNK_SMALLEST_BYTES, whole || half));
    return true;
  }
}

/** Bytes that can be read again from any offset. */
export interface Content {
  /** In bytes. */
  readonly size: number;
  /** The bytes from `start` to before `end`. */
  open(start: number, end: number): AsyncIterable<Uint8Array>;
}

/** Why a chunk was not taken. */
interface Failure {
  error: Error;
  retryAfter: string | null;
  /** The upload's offset is not that of the chunk. */
  isElsewhere: boolean;
}

/** The registry does not know the upload any more, or has lost bytes of it: start again. */
export class UploadLost extends Error {
  override readonly name = 'UploadLost';
}

export class ChunkedUpload {
  /** Where to send the next request. Changes with every answer. */
  location: string;
  /** The bytes that the registry has. */
  offset: number;
  readonly #registry: Registry;
  readonly #scope: string;
  readonly #limit: ChunkLimit;

  private constructor(
    registry: Registry,
    scope: string,
    limit: ChunkLimit,
    location: string,
    offset: number,
  ) {
    this.#registry = registry;
    this.#scope = scope;
    this.#limit = limit;
    this.location = location;
    this.offset = offset;
  }

  /**
   * Starts an upload.
   *
   * Throws RegistryError.
   */
  static async start(registry: Registry, repository: string, limit: ChunkLimit): Promise<ChunkedUpload> {
    const scope = pullPush(repository);
    const path = `/v2/${repository}/blobs/uploads/`;
    const answer = await registry.request({ method: 'POST', path, scope });
    const location = answer.header('Location');
    if (answer.status !== 202 || location === null) throw await registry.failure(answer, `POST ${path}`);
    discard(answer);
    return new ChunkedUpload(registry, scope, limit, urlOf(registry, path, location), 0);
  }

  /** An upload that was started by another request. The registry has none of its bytes. */
  static started(registry: Registry, repository: string, limit: ChunkLimit, location: string): ChunkedUpload {
    return new ChunkedUpload(registry, pullPush(repository), limit, location, 0);
  }

  /** Continues an upload that an earlier process began. Null if the registry does not know it any more. */
  static async resume(
    registry: Registry,
    repository: string,
    limit: ChunkLimit,
    location: string,
  ): Promise<ChunkedUpload | null> {
    if (new URL(location, registry.origin).origin !== registry.origin) return null;
    const upload = new ChunkedUpload(registry, pullPush(repository), limit, location, 0);
    try {
      upload.offset = await upload.#status();
      return upload;
    } catch (error) {
      if (error instanceof UploadLost) return null;
      throw error;
    }
  }

  /**
   * Sends bytes that follow `offset`, in one PATCH or in several. Bytes that the registry has taken are not sent again.
   *
   * Throws UploadLost if the registry has lost earlier bytes.
   * Throws RegistryError, and what `content.open` throws.
   */
  async append(content: Content, sent?: (bytes: number) => void): Promise<void> {
    const base = this.offset;
    const end = base + content.size;
    const backoff = new Backoff(ATTEMPTS_MAX);
    while (this.offset < end) {
      const from = this.offset;
      const to = Math.min(end, from + this.#limit.maxBytes);
      const body = slice(content, from - base, to - base, sent);
      const failure = await this.#patch(body, from, to);
      if (failure === null) {
        backoff.reset();
        continue;
      }
      await this.#registry.pause(backoff, failure.error, failure.retryAfter);
      this.offset = await this.#status();
      // A status of "0-0" is one byte or none. Only with one byte is a chunk that begins at 0 refused.
      if (failure.isElsewhere && from === 0 && this.offset === 0) this.offset = 1;
      if (this.offset < base) throw new UploadLost('the registry has lost bytes of the upload');
      if (this.offset > end) throw new UploadLost('the upload has bytes that this client did not send');
      if (this.offset > from) backoff.reset();
    }
  }

  /**
   * Ends the upload. A repetition of the last request is safe: a registry answers 201 again.
   *
   * Throws UploadLost.
   * Throws RegistryError; with the code DIGEST_INVALID if the bytes have another digest.
   */
  async commit(digest: Digest): Promise<void> {
    await this.#settled(await this.end(digest), 'PUT', 201);
  }

  /**
   * Sends the last request, with the last bytes if there are any, and returns any answer.
   *
   * Throws RegistryError.
   */
  async end(digest: string, body: Body | null = null): Promise<Answer> {
    const url = new URL(this.location);
    url.searchParams.set('digest', digest);
    const headers: Record<string, string> =
      body === null ? {} : { 'Content-Type': 'application/octet-stream' };
    return this.#registry.request({ method: 'PUT', path: url.href, scope: this.#scope, headers, body });
  }

  /** Gives the upload up. Never throws: the registry forgets it after a day in any case. */
  async cancel(): Promise<void> {
    try {
      discard(await this.#registry.attempt({ method: 'DELETE', path: this.location, scope: this.#scope }));
    } catch {
      // It expires.
    }
  }

  /** Null if the chunk was taken, else why not. */
  async #patch(body: Body, from: number, to: number): Promise<Failure | null> {
    try {
      const answer = await this.#registry.attempt({
        method: 'PATCH',
        path: this.location,
        scope: this.#scope,
        headers: { 'Content-Type': 'application/octet-stream', 'Content-Range': `${from}-${to - 1}` },
        body,
      });
      if (answer.status === 202) {
        this.#moved(answer);
        discard(answer);
        this.offset = to;
        return null;
      }
      const error = await this.#registry.failure(answer, 'PATCH of an upload');
      const isLearned = answer.status === 413 && this.#limit.refused(body.size);
      // 416: an earlier attempt arrived, although its answer did not. The status says how far.
      const mayGoOn = isLearned || answer.status === 416 || isLater(answer.status);
      if (answer.status === 404) throw new UploadLost(error.message);
      if (!mayGoOn) throw error;
      return { error, retryAfter: answer.header('Retry-After'), isElsewhere: answer.status === 416 };
    } catch (error) {
      if (!(error instanceof ConnectionLost)) throw error;
      return { error, retryAfter: null, isElsewhere: false };
    }
  }

  /** The bytes that the registry has. Throws UploadLost if it does not know the upload. */
  async #status(): Promise<number> {
    const answer = await this.#registry.request({ method: 'GET', path: this.location, scope: this.#scope });
    if (answer.status !== 204 && answer.status !== 202) await this.#settled(answer, 'GET', 204);
    this.#moved(answer);
    discard(answer);
    const last = /^(?:bytes=)?0-(\d+)$/.exec(answer.header('Range') ?? '')?.[1];
    if (last === undefined) throw new UploadLost('the registry does not say how much of the upload it has');
    return last === '0' ? 0 : Number(last) + 1;
  }

  async #settled(answer: Answer, method: string, wanted: number): Promise<void> {
    if (answer.status === wanted) return discard(answer);
    const error = await this.#registry.failure(answer, `${method} of an upload`);
    throw error instanceof RegistryError && answer.status === 404 ? new UploadLost(error.message) : error;
  }

  #moved(answer: Answer): void {
    const location = answer.header('Location');
    if (location !== null) this.location = urlOf(this.#registry, this.location, location);
  }
}

/** The Location of an answer, which may be relative to the URL that was asked. */
function urlOf(registry: Registry, asked: string, location: string): string {
  return new URL(location, new URL(asked, registry.origin)).href;
}

function slice(
  content: Content,
  start: number,
  end: number,
  sent: ((bytes: number) => void) | undefined,
): Body {
  return { size: end - start, open: () => content.open(start, end), ...(sent === undefined ? {} : { sent }) };
}

function isLater(status: number): boolean {
  return status === 429 || status === 408 || status >= 500;
}
