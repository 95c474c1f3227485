/**
 * Uploads a blob in chunks that pass every limit on request bodies, and continues after lost connections, lost answers and restarts of
 * the registry. Distribution spec, "Pushing a blob in chunks".
 */
import type { Digest } from '../../worker/oci/digest.ts';
import { printable } from '../../worker/oci/printable.ts';
import type { Backoff } from './backoff.ts';
import { type Answer, type Body, ConnectionLost, discard } from './http.ts';
import { isTransient, pull, pullPush, type Registry, RegistryError } from './registry.ts';

/** Cloudflare refuses larger bodies on its Free and Pro plans (100 MB). Cloudflare docs, "Workers: limits". */
const WALL_BYTES = 95_000_000;
/** R2 parts of the registry have 7 MiB. Chunks of whole parts leave no rest to carry to the next chunk. */
const PART_BYTES = 7 * 1024 * 1024;
/** A front that refuses even this is not one to push through. */
const CHUNK_SMALLEST_BYTES = 1024 * 1024;
/** The registry may still be storing what it got of a chunk that was cut off. Then its status is not yet what it will have. */
const SETTLE_MS = 150;
/** Connections lost one after the other, without a byte of progress, before chunks become smaller. */
const LOST_MAX = 3;

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
  /** The bytes from `start` to before `end`. A piece may be overwritten when the next one has been asked for. */
  open(start: number, end: number): AsyncIterable<Uint8Array>;
}

/** What a caller may learn while it sends. */
export interface Progress {
  /** The offset in the upload up to which bytes were handed to the connection. It goes back when bytes are sent again. */
  sent?(offset: number): void;
  /** The registry has taken a chunk: `location` and `offset` have changed. */
  taken?(): Promise<void>;
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
  /** The registry has said that it refuses bytes with another digest. */
  checksDigest = false;
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
    const path = `/v2/${repository}/blobs/uploads/`;
    const scope = pullPush(repository);
    const answer = await registry.request({ method: 'POST', path, scope });
    return ChunkedUpload.#started(registry, scope, limit, path, answer);
  }

  /**
   * Asks the registry to link a blob that another repository has. Without `from`, a registry may look for one that the caller may
   * pull. Null if it did; else the upload that it has started. Distribution spec, "Mounting a blob from another repository".
   *
   * Throws RegistryError.
   */
  static async mountOrStart(
    registry: Registry,
    repository: string,
    limit: ChunkLimit,
    digest: Digest,
    from: string | null,
  ): Promise<ChunkedUpload | null> {
    const path = `/v2/${repository}/blobs/uploads/`;
    const query = new URLSearchParams({ mount: digest, ...(from === null ? {} : { from }) });
    const scope = from === null ? pullPush(repository) : `${pullPush(repository)} ${pull(from)}`;
    const answer = await registry.request({ method: 'POST', path: `${path}?${query}`, scope });
    if (answer.status !== 201) {
      return ChunkedUpload.#started(registry, pullPush(repository), limit, path, answer);
    }
    discard(answer);
    return null;
  }

  static async #started(
    registry: Registry,
    scope: string,
    limit: ChunkLimit,
    path: string,
    answer: Answer,
  ): Promise<ChunkedUpload> {
    const location = answer.header('Location');
    if (answer.status !== 202) throw await registry.failure(answer, `POST ${path}`);
    discard(answer);
    if (location === null) throw strange(registry, `POST ${path}`, '202 and no Location');
    const upload = new ChunkedUpload(registry, scope, limit, urlOf(registry, path, location), 0);
    upload.checksDigest = checksDigest(answer);
    return upload;
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
    if (!URL.canParse(location) || new URL(location).origin !== registry.origin) return null;
    const upload = new ChunkedUpload(registry, pullPush(repository), limit, location, 0);
    try {
      const path = location;
      await upload.#readStatus(await registry.request({ method: 'GET', path, scope: upload.#scope }));
      return upload;
    } catch (error) {
      if (error instanceof UploadLost) return null;
      // The location is old. Whatever the registry has against it, a new upload does not need it.
      if (error instanceof RegistryError && !isTransient(error.status)) return null;
      throw error;
    }
  }

  /**
   * Sends bytes that follow `offset`, in one PATCH or in several. Bytes that the registry has taken are not sent again.
   *
   * Throws UploadLost if the registry has lost earlier bytes.
   * Throws RegistryError, and what `content.open` throws.
   */
  async append(content: Content, progress: Progress = {}): Promise<void> {
    const base = this.offset;
    const end = base + content.size;
    const backoff = this.#registry.backoff();
    let lost = 0;
    // Only bytes beyond this are progress: a registry may say less and more in turn.
    let furthest = base;
    while (this.offset < end) {
      const from = this.offset;
      const to = Math.min(end, from + this.#limit.maxBytes);
      const failure = await this.#patch(slice(content, base, from, to, progress), from, to);
      if (failure === null) {
        if (this.offset > furthest) backoff.reset();
        furthest = Math.max(furthest, this.offset);
        lost = 0;
        await progress.taken?.();
        continue;
      }
      await this.#find(failure, backoff);
      // A status of "0-0" is one byte or none. Only with one byte is a chunk that begins at 0 refused.
      if (failure.isElsewhere && from === 0 && this.offset === 0) this.offset = 1;
      if (this.offset < base) throw new UploadLost('the registry has lost bytes of the upload');
      if (this.offset > end) throw new UploadLost('the upload has bytes that this client did not send');
      const isFurther = this.offset > furthest;
      if (isFurther) backoff.reset();
      furthest = Math.max(furthest, this.offset);
      lost = isFurther || !(failure.error instanceof ConnectionLost) ? 0 : lost + 1;
      // A front may close the connection of a body that is too large before its answer is read.
      if (lost >= LOST_MAX) this.#limit.refused(to - from);
    }
  }

  /**
   * Sends the whole blob in one PUT, which also ends the upload. False if the body was too large for a front, which `limit` has
   * learned then: the upload is as it was.
   *
   * Throws ConnectionLost: the registry may have the blob, or none of it.
   * Throws UploadLost.
   * Throws RegistryError, and what `content.open` throws.
   */
  async commitWhole(digest: Digest, content: Content, progress: Progress = {}): Promise<boolean> {
    const backoff = this.#registry.backoff();
    while (true) {
      const answer = await this.#registry.attempt({
        method: 'PUT',
        path: this.#committed(digest),
        scope: this.#scope,
        headers: { 'Content-Type': 'application/octet-stream' },
        body: slice(content, 0, 0, content.size, progress),
      });
      if (answer.status === 413 && this.#limit.refused(content.size)) {
        discard(answer);
        return false;
      }
      if (!isTransient(answer.status)) {
        await this.#created(answer, digest);
        return true;
      }
      const failure = await this.#registry.failure(answer, 'PUT of an upload');
      await this.#registry.pause(backoff, failure, answer.header('Retry-After'));
    }
  }

  /**
   * Ends the upload. A repetition of the last request is safe: a registry answers 201 again.
   *
   * Throws UploadLost.
   * Throws RegistryError; with the code DIGEST_INVALID if the bytes have another digest.
   */
  async commit(digest: Digest): Promise<void> {
    await this.#created(await this.end(digest), digest);
  }

  /**
   * Sends the last request, with the last bytes if there are any, and returns any answer. A failed one is repeated for `patienceMs`.
   *
   * Throws RegistryError.
   */
  async end(digest: string, body: Body | null = null, patienceMs?: number): Promise<Answer> {
    const path = this.#committed(digest);
    const headers: Record<string, string> =
      body === null ? {} : { 'Content-Type': 'application/octet-stream' };
    return this.#registry.request({ method: 'PUT', path, scope: this.#scope, headers, body, patienceMs });
  }

  /** Gives the upload up. Never throws: the registry forgets it after a day in any case. */
  async cancel(): Promise<void> {
    try {
      discard(await this.#registry.attempt({ method: 'DELETE', path: this.location, scope: this.#scope }));
    } catch {
      // It expires.
    }
  }

  /** Finds out how much of the upload the registry has, after a chunk failed. */
  async #find(failure: Failure, backoff: Backoff): Promise<void> {
    let last: Pick<Failure, 'error' | 'retryAfter'> | null = failure;
    while (last !== null) {
      await this.#registry.pause(backoff, last.error, last.retryAfter, SETTLE_MS);
      last = await this.#attemptStatus();
    }
  }

  /** Null if the registry has said how much it has, else why not. */
  async #attemptStatus(): Promise<{ error: Error; retryAfter: string | null } | null> {
    try {
      const request = { method: 'GET', path: this.location, scope: this.#scope };
      const answer = await this.#registry.attempt(request);
      if (isTransient(answer.status)) {
        const error = await this.#registry.failure(answer, 'GET of an upload');
        return { error, retryAfter: answer.header('Retry-After') };
      }
      await this.#readStatus(answer);
      return null;
    } catch (error) {
      if (!(error instanceof ConnectionLost)) throw error;
      return { error, retryAfter: null };
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
      if (answer.status < 300) throw strange(this.#registry, 'PATCH of an upload', String(answer.status));
      const isLearned = answer.status === 413 && this.#limit.refused(body.size);
      const failure = await this.#registry.failure(answer, 'PATCH of an upload');
      const error = isLearned ? tooLarge(body.size) : failure;
      // 416: an earlier attempt arrived, although its answer did not. The status says how far.
      const mayGoOn = isLearned || answer.status === 416 || isTransient(answer.status);
      if (answer.status === 404) throw new UploadLost(error.message);
      if (!mayGoOn) throw error;
      return { error, retryAfter: answer.header('Retry-After'), isElsewhere: answer.status === 416 };
    } catch (error) {
      if (!(error instanceof ConnectionLost)) throw error;
      return { error, retryAfter: null, isElsewhere: false };
    }
  }

  /** Throws UploadLost if the registry does not know the upload. */
  async #readStatus(answer: Answer): Promise<void> {
    if (answer.status !== 204 && answer.status !== 202) await this.#settled(answer, 'GET', 204);
    this.#moved(answer);
    discard(answer);
    const last = /^(?:bytes=)?0-(\d{1,15})$/.exec(answer.header('Range') ?? '')?.[1];
    if (last === undefined) throw new UploadLost('the registry does not say how much of the upload it has');
    this.offset = last === '0' ? 0 : Number(last) + 1;
  }

  async #settled(answer: Answer, method: string, wanted: number): Promise<void> {
    if (answer.status === wanted) return discard(answer);
    const error = await this.#registry.failure(answer, `${method} of an upload`);
    throw error instanceof RegistryError && answer.status === 404 ? new UploadLost(error.message) : error;
  }

  async #created(answer: Answer, digest: Digest): Promise<void> {
    await this.#settled(answer, 'PUT', 201);
    const stored = answer.header('Docker-Content-Digest');
    if (stored !== null && stored !== digest)
      throw strange(this.#registry, 'PUT of an upload', `the digest ${printable(stored.slice(0, 200))}`);
  }

  #committed(digest: string): string {
    const url = new URL(this.location);
    url.searchParams.set('digest', digest);
    return url.href;
  }

  #moved(answer: Answer): void {
    const location = answer.header('Location');
    if (location !== null) this.location = urlOf(this.#registry, this.location, location);
  }
}

/** Whether the registry says, in its answer to a POST, that it refuses bytes with another digest. Longshore does. */
export function checksDigest(answer: Answer): boolean {
  return answer.header('Longshore-Checks') === 'digest';
}

/**
 * The Location of an answer, which may be relative to the URL that was asked. It may be on another host, which then gets the bytes
 * and no credentials, but never without encryption if the registry is reached with it.
 */
function urlOf(registry: Registry, asked: string, location: string): string {
  const base = new URL(asked, registry.origin);
  const url = URL.canParse(location, base.href) ? new URL(location, base) : null;
  const isSecure = registry.origin.startsWith('https:');
  // A registry behind a front that ends TLS may not know that it is reached by https.
  if (url !== null && isSecure && url.protocol === 'http:' && url.host === new URL(registry.origin).host)
    url.protocol = 'https:';
  if (url !== null && (url.protocol === 'https:' || (url.protocol === 'http:' && !isSecure))) return url.href;
  throw strange(registry, 'an upload', `the Location ${printable(location.slice(0, 200))}`);
}

/** Bytes of the content that begins at `base` of the upload. */
function slice(content: Content, base: number, from: number, to: number, { sent }: Progress): Body {
  let offset = from;
  return {
    size: to - from,
    open: () => {
      offset = from;
      sent?.(from);
      return content.open(from - base, to - base);
    },
    sent: (bytes) => {
      offset += bytes;
      sent?.(offset);
    },
  };
}

/** An answer that the specification does not allow. */
function strange(registry: Registry, what: string, got: string): RegistryError {
  return new RegistryError(
    `${registry.origin} answered ${what} with ${got}, which no registry may do.\nCheck that the address is that of a registry, and what stands in front of it.`,
    502,
    null,
  );
}

function tooLarge(size: number): Error {
  return new Error(`Something in front of the registry refuses a body of ${size} bytes`);
}
