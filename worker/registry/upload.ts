/**
 * The upload engine. A single PUT streams to the store. Chunks are hashed and cut into parts as they arrive, and an UploadSession keeps
 * the offset, the parts and the hash. Nothing is copied. Content is read back only if its hash was lost with an isolate, or if the
 * final PUT names another algorithm.
 */
import { waitUntil } from 'cloudflare:workers';
import { blobStore } from '../blob-store.ts';
import { BodyReader, readWhole } from '../blobs/body.ts';
import { digestOfStream, dropHash, leaveHash, NativeHash, resumeHash } from '../blobs/hash.ts';
import { blobKey, inlineKey } from '../blobs/storage-key.ts';
import type { Added, BlobStore, Draft, StoredByClient } from '../blobs/store.ts';
import { bytesOf } from '../blobs/tail.ts';
import type { Env } from '../env.ts';
import { CountedCache, type Lease, memory } from '../memory/budget.ts';
import type {
  DirectDraft,
  OpenUpload,
  Refusal,
  UploadClaim,
  UploadSessionObject,
} from '../objects/upload-session.ts';
import { algorithmOf, type Digest, digestOf } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import { UPLOAD_LIFETIME_MS } from '../oci/limits.ts';
import { lengthOf } from '../oci/range.ts';
import type { Chunk, DirectPlace, DirectRequest, Upload } from '../oci/registry.ts';
import { hasRepository, repositoryOf, type Stub, sessionOf } from '../stubs.ts';
import { publish, wrongDigest } from './publish.ts';
import { checkRoom } from './room.ts';
import { SilentUploads } from './silent-uploads.ts';
import { rememberHolder } from './small-holders.ts';
import { begunToken } from './upload-id.ts';

const NOTHING: Chunk = { body: null, size: 0, range: null, sender: '' };

/** Uploads whose chunks this isolate has seen. Some clients keep using the first Location, whose token does not say so. */
const begunHere = new CountedCache<true>(memory, { entries: 10_000, bytes: 4 * 1024 * 1024 });

export class DurableUpload implements Upload {
  readonly id: string;
  readonly startedAt: number;
  token: string;
  readonly #env: Env;
  readonly #repository: string;
  readonly #claim: UploadClaim;
  readonly #store: BlobStore;
  readonly #silent: SilentUploads;
  readonly #isNew: boolean;
  #direct: DirectPlace | null = null;

  /** `isNew`: the same request has begun it. */
  constructor(env: Env, repository: string, id: string, token: string, claim: UploadClaim, isNew: boolean) {
    this.#env = env;
    this.#repository = repository;
    this.id = id;
    this.token = token;
    this.#claim = claim;
    this.startedAt = claim.expiresAt - UPLOAD_LIFETIME_MS;
    this.#store = blobStore(env);
    this.#silent = new SilentUploads(env, repository);
    this.#isNew = isNew;
  }

  offer(userAgent: string): Promise<boolean> {
    return this.#silent.offered(this.id, userAgent);
  }

  /** Prepares the store for a client that stores the bytes itself. Does nothing if the store has no way for that. */
  async startDirect({ size, inParts }: DirectRequest): Promise<void> {
    const { direct } = this.#store;
    if (direct === null) return;
    await checkRoom(this.#env, this.#repository, null, size);
    const draft = crypto.randomUUID();
    const key = blobKey(draft);
    const multipart = inParts ? await direct.begin(key) : null;
    try {
      await this.#session().beginDirect(this.id, this.#claim, { draft, multipart }, size);
    } catch (error) {
      // If the session has it nevertheless, the upload expires there.
      await this.#store.abandon(draftOf({ draft, multipart })).catch(() => undefined);
      throw error;
    }
    this.#direct = { key, multipart };
    this.#markBegun();
  }

  /** Begins an upload of content of any size under the key of `draft`, which is returned. */
  async startArriving(draft: string): Promise<string> {
    await this.#session().beginDirect(this.id, this.#claim, { draft, multipart: null }, 0);
    return blobKey(draft);
  }

  /**
   * Links what a client has stored for this digest. `size` is what a manifest states, in bytes; if it is null, content that the store
   * has not compared with the digest is left alone. False if there is nothing of this size, or if it is other content, which is
   * then dropped.
   */
  async linkArrived(digest: Digest, draft: string, size: number | null): Promise<boolean> {
    const stored = (await this.#store.direct?.stored(blobKey(draft))) ?? null;
    if (stored === null || (size === null ? stored.digest !== digest : stored.size !== size)) return false;
    try {
      const sealed = await this.#session().seal(this.id, digest, 0);
      if (sealed.status === 'published') return await this.#isLinked(digest);
      if (sealed.status !== 'open' || sealed.direct === null) return false;
      await this.#publishStored(digest, sealed.draft, stored.size, stored, this.id);
      return true;
    } catch (error) {
      if (error instanceof OciError && error.status < 500) return false;
      throw error;
    }
  }

  async direct(): Promise<DirectPlace | null> {
    if (this.#direct !== null || this.#store.direct === null) return this.#direct;
    const pending = await this.#session().directDraft(this.id);
    return pending === null ? null : { key: blobKey(pending.draft), multipart: pending.multipart };
  }

  async status(): Promise<number> {
    this.#silent.heardOf(this.id);
    const status = await this.#session().status(this.id);
    const unknown = status.status === 'none' && this.#claim.begun;
    if (unknown || status.status === 'gone') throw new OciError('BLOB_UPLOAD_UNKNOWN');
    return status.status === 'open' ? status.offset : 0;
  }

  async append(chunk: Chunk): Promise<number> {
    checkLength(chunk);
    await checkRoom(this.#env, this.#repository, null, chunk.size);
    const lease = memory.lease();
    this.#silent.began(this.id, false);
    try {
      if (chunk.body !== null) lease.receive(chunk.sender);
      const reserve = this.#store.partsFor(chunk.size);
      // Before the first chunk there is no tail.
      const tailMax = chunk.body === null || !this.#hasBegun() ? 0 : this.#roomForTail(lease);
      const at = chunk.range?.first ?? null;
      const upload = await this.#session().begin(this.id, this.#claim, { at, reserve, tailMax });
      if (upload.status !== 'open') throw refused(upload);
      this.#markBegun();
      if (chunk.body === null) return upload.offset;
      keepTail(lease, upload.draft);
      return await this.#append(upload, chunk, chunk.body, lease);
    } finally {
      lease.end();
      this.#silent.ended(this.id);
    }
  }

  async commit(digest: Digest, chunk: Chunk): Promise<void> {
    checkLength(chunk);
    await checkRoom(this.#env, this.#repository, digest, chunk.size);
    if (this.#isWhole(chunk) && chunk.body !== null && chunk.size !== null) {
      const lease = memory.lease();
      if (!this.#isNew) this.#silent.began(this.id, true);
      try {
        lease.receive(chunk.sender);
        await this.#commitWhole(digest, chunk.body, chunk.size, lease);
      } finally {
        lease.end();
        this.#silent.ended(this.id);
      }
      return;
    }
    this.#silent.heardOf(this.id);
    const last = chunk.body === null && chunk.range === null ? NOTHING : chunk;
    if (last !== NOTHING) await this.#appendLast(last);
    await this.#commitSession(digest);
  }

  async cancel(): Promise<void> {
    this.#silent.heardOf(this.id);
    const cancelled = await this.#session().cancel(this.id, this.#claim);
    if (cancelled.status === 'gone') throw new OciError('BLOB_UPLOAD_UNKNOWN');
    this.#markBegun();
    dropHash(this.id);
    // A PUT of the whole blob does not use the session, so the repository refuses what it may still bring.
    await repositoryOf(this.#env, this.#repository).refuseUpload(this.id);
    await this.#store.discard(cancelled.draft);
  }

  /** Whether a PUT brings the whole blob, and needs no session. */
  #isWhole(chunk: Chunk): boolean {
    return !this.#hasBegun() && chunk.range === null && chunk.size !== null && chunk.size > 0;
  }

  #isInline(size: number): boolean {
    const { inlineMaxBytes } = this.#store;
    return inlineMaxBytes !== null && size <= inlineMaxBytes;
  }

  async #commitWhole(
    digest: Digest,
    body: ReadableStream<Uint8Array>,
    size: number,
    lease: Lease,
  ): Promise<void> {
    if (this.#isInline(size)) return this.#commitInline(digest, body, size, lease);
    const key = blobKey(crypto.randomUUID());
    const publication = { repository: this.#repository, digest, size, key, upload: this.id };
    await publish(this.#env, publication, async ({ stored }) => {
      if (!stored) return this.#store.put(key, body, size, digest, lease);
      const content = await digestOfStream(algorithmOf(digest), body);
      return content.digest === digest;
    });
  }

  /** Verifies small content, and then writes it together with its link. */
  async #commitInline(
    digest: Digest,
    body: ReadableStream<Uint8Array>,
    size: number,
    lease: Lease,
  ): Promise<void> {
    const bytes = await readWhole(new BodyReader(body, lease), size, lease);
    const hash = new NativeHash(algorithmOf(digest));
    if (bytes !== null) hash.update(bytes);
    if (bytes === null || hash.save().digest !== digest) throw wrongDigest(digest);
    await this.#linkInline(digest, bytes, this.id);
  }

  async #linkInline(digest: Digest, bytes: Uint8Array, upload: string | null): Promise<void> {
    const key = inlineKey(this.#repository, digest);
    const blob = { digest, key, size: bytes.length, link: crypto.randomUUID() };
    const repository = repositoryOf(this.#env, this.#repository);
    const linked = await repository.linkBlob(this.#repository, blob, upload, bytes);
    if (linked) return rememberHolder(digest, this.#repository);
    throw new OciError('BLOB_UPLOAD_UNKNOWN');
  }

  async #append(
    upload: OpenUpload,
    chunk: Chunk,
    body: ReadableStream<Uint8Array>,
    lease: Lease,
  ): Promise<number> {
    const native = this.#store.isSingleIsolate || chunk.range === null;
    const { algorithm } = this.#claim;
    const hash = resumeHash(this.id, { algorithm, offset: upload.offset, saved: upload.hash, native });
    const { draft } = upload;
    const { firstPart } = draft;
    const reserved = this.#store.partsFor(chunk.size);
    let offset = upload.offset;
    let tailBytes = draft.tail.size;
    const advance = async (added: Added, intact: boolean, ends: boolean) => {
      const from = offset;
      const partBytes = added.parts.reduce((sum, part) => sum + part.size, 0);
      const to = from - (added.parts.length > 0 ? tailBytes : 0) + partBytes + added.tail.length;
      const saved = intact ? (hash?.save() ?? null) : null;
      const { multipart, parts, tail } = added;
      const progress = { from, offset: to, firstPart, reserved, ends, multipart, parts, tail };
      const advanced = await this.#session().advance(this.id, { ...progress, hash: saved });
      if (advanced.status !== 'open') throw refused(advanced);
      offset = to;
      draft.multipart = multipart;
      tailBytes = (added.parts.length > 0 ? 0 : tailBytes) + tail.length;
      if (saved !== null && hash !== null) leaveHash(this.id, offset, hash);
    };
    let refusal: unknown = null;
    const added = await this.#store.append(draft, body, chunk.size, {
      lease,
      tap: (bytes) => hash?.update(bytes),
      keep: (some) =>
        advance(some, true, false).catch((error: unknown) => {
          refusal = error;
          throw error;
        }),
      loadTail: () => this.#session().tail(this.id),
    });
    if (refusal === null) {
      refusal = await advance(added, added.intact, true).then(
        () => null,
        (error: unknown) => error,
      );
    }
    // Only if the session refused: after another error, it may have accepted what was added.
    if (refusal instanceof OciError) {
      await this.#store.withdraw(draft, added).catch((error: unknown) => {
        console.error('the parts of a refused chunk could not be removed', error);
      });
    }
    if (refusal !== null) throw refusal;
    const received = offset - upload.offset;
    if (added.error !== null) {
      if (added.intact && chunk.size === null) this.#silent.broke(this.id, received);
      throw interrupted(added.error, added.intact);
    }
    if (chunk.size !== null && received !== chunk.size) throw wrongLength(chunk.size, received);
    if (chunk.range !== null && received !== lengthOf(chunk.range))
      throw wrongLength(lengthOf(chunk.range), received);
    return offset;
  }

  /** Appends the chunk of the final PUT. It may repeat a request whose answer was lost, and then the upload has ended. */
  async #appendLast(chunk: Chunk): Promise<void> {
    try {
      await this.append(chunk);
    } catch (error) {
      // `#commitSession` checks next whether it ended with this digest.
      if (!(error instanceof OciError) || error.code !== 'BLOB_UPLOAD_UNKNOWN') throw error;
    }
  }

  async #commitSession(digest: Digest): Promise<void> {
    const lease = memory.lease();
    try {
      const tailMax = this.#roomForTail(lease);
      let sealed = await this.#session().seal(this.id, digest, tailMax);
      if (sealed.status === 'none') {
        const empty = { at: 0, reserve: 0, tailMax: 0 }; // An empty blob, without an earlier chunk.
        const begun = await this.#session().begin(this.id, this.#claim, empty);
        if (begun.status !== 'open') throw refused(begun);
        sealed = await this.#session().seal(this.id, digest, 0);
      }
      if (sealed.status === 'mismatch') {
        await this.#store.discard(sealed.draft);
        throw wrongDigest(digest);
      }
      const again = sealed.status === 'published' || (sealed.status === 'open' && sealed.again);
      if (again && (await this.#isLinked(digest))) return;
      if (sealed.status !== 'open') throw new OciError('BLOB_UPLOAD_UNKNOWN');
      dropHash(this.id);
      if (sealed.direct !== null) return await this.#publishDirect(digest, sealed.draft, sealed.direct);
      keepTail(lease, sealed.draft);
      await this.#publishDraft(digest, sealed, sealed.again, lease);
    } finally {
      lease.end();
    }
  }

  async #publishDraft(
    digest: Digest,
    { draft, hash, offset }: OpenUpload,
    again: boolean,
    lease: Lease,
  ): Promise<void> {
    const key = this.#store.keyOf(draft);
    const running = offset === 0 ? await digestOf(algorithmOf(digest), new Uint8Array()) : hash?.digest;
    const known = running !== undefined && algorithmOf(running) === algorithmOf(digest);
    const finish = async () => {
      await this.#loadTail(draft, lease);
      // The store has lost the bytes. The client must start a new upload.
      if (!(await this.#store.finish(draft, again))) throw new OciError('BLOB_UPLOAD_UNKNOWN');
    };
    // Without the running hash, the content is finished and read back once before it is published.
    if (!known) await finish();
    if (known ? running !== digest : !(await this.#isContent(digest, key))) {
      await this.#session().markMismatch(this.id);
      await this.#store.discard(draft);
      throw wrongDigest(digest);
    }
    if (known && draft.parts.length === 0 && this.#isInline(offset)) {
      await this.#loadTail(draft, lease);
      await this.#linkInline(digest, bytesOf(draft.tail), null);
      this.#reportPublished(false);
      return;
    }
    const publication = { repository: this.#repository, digest, size: offset, key, upload: null };
    const used = await publish(this.#env, publication, async (object) => {
      // If the registry has the same bytes already, the draft stays until its session ends, because a repetition of this request may
      // be publishing it.
      if (object.key === key && known && !object.stored) await finish();
      return true;
    });
    this.#reportPublished(used === key);
  }

  /**
   * Publishes what the client has stored itself. The store has compared it with a digest as it arrived, or else it is read once. It
   * cannot change afterwards, because a client's grant does not replace an object that is there.
   */
  async #publishDirect(digest: Digest, draft: Draft, size: number): Promise<void> {
    const key = this.#store.keyOf(draft);
    const stored = (await this.#store.direct?.stored(key)) ?? null;
    // The upload stays: the client's bytes may still be on their way.
    if (stored === null) throw notStored();
    await this.#publishStored(digest, draft, size, stored, null);
  }

  /** `upload`: as for a publication. */
  async #publishStored(
    digest: Digest,
    draft: Draft,
    size: number,
    stored: StoredByClient,
    upload: string | null,
  ): Promise<void> {
    const key = this.#store.keyOf(draft);
    const isSame =
      stored.size === size &&
      (stored.digest !== null && algorithmOf(digest) === algorithmOf(stored.digest)
        ? stored.digest === digest
        : await this.#isContent(digest, key));
    if (!isSame || !stored.hasOwnHeaders) {
      await this.#session().markMismatch(this.id);
      await this.#store.discard(draft);
      throw isSame ? otherHeaders() : wrongDigest(digest);
    }
    const publication = { repository: this.#repository, digest, size, key, upload };
    const used = await publish(this.#env, publication, async () => true);
    this.#reportPublished(used === key);
  }

  /** If this call fails, the session hands the bytes to the shard when it ends. */
  #reportPublished(isDraftUsed: boolean): void {
    waitUntil(
      this.#session()
        .published(this.id, isDraftUsed)
        .catch(() => undefined),
    );
  }

  /** Takes memory for a tail in an answer, which needs it twice while it arrives. Returns the largest size of the tail. */
  #roomForTail(lease: Lease): number {
    const { tailMax } = this.#store;
    return lease.tryTake(2 * tailMax) ? tailMax : 0;
  }

  /** Loads the tail of a draft, if it did not come with the answer of the session. */
  async #loadTail({ tail }: Draft, lease: Lease): Promise<void> {
    if (tail.bytes !== null || tail.size === 0) return;
    await lease.take(2 * tail.size);
    tail.bytes = await this.#session().tail(this.id);
    lease.give(tail.size);
  }

  /** Reads the content back. False also if the disk has lost some of it. */
  async #isContent(digest: Digest, key: string): Promise<boolean> {
    const found = await this.#store.get(key);
    return found !== null && (await digestOfStream(algorithmOf(digest), found.body)).digest === digest;
  }

  async #isLinked(digest: Digest): Promise<boolean> {
    if (!(await hasRepository(this.#env, this.#repository))) return false;
    return (await repositoryOf(this.#env, this.#repository).blob(digest)) !== null;
  }

  #hasBegun(): boolean {
    return this.#claim.begun || begunHere.get(this.id) === true;
  }

  #markBegun(): void {
    this.token = begunToken(this.token);
    begunHere.set(this.id, true, 0);
  }

  #session(): Stub<UploadSessionObject> {
    return sessionOf(this.#env, this.id);
  }
}

function draftOf({ draft: id, multipart }: DirectDraft): Draft {
  return { id, multipart, parts: [], firstPart: 1, tail: { size: 0, bytes: null } };
}

function notStored(): OciError {
  return new OciError('BLOB_UPLOAD_INVALID', {
    message:
      'the bytes of this upload are not in the store yet: store them with the grant, and then commit again',
    status: 400,
  });
}

function otherHeaders(): OciError {
  return new OciError('BLOB_UPLOAD_INVALID', {
    message: 'the bytes were stored with other headers than those of the grant: start a new upload',
    status: 400,
  });
}

/** Keeps memory for the tail that arrived, and gives the rest back. */
function keepTail(lease: Lease, { tail }: Draft): void {
  lease.give(lease.bytes - (tail.bytes?.length ?? 0));
}

/** Throws SIZE_INVALID if Content-Range and Content-Length do not agree. */
function checkLength({ size, range }: Chunk): void {
  if (range !== null && size !== null && lengthOf(range) !== size) throw wrongLength(lengthOf(range), size);
}

function wrongLength(announced: number, received: number): OciError {
  return new OciError('SIZE_INVALID', {
    message: `the chunk was announced with ${announced} bytes and has ${received}`,
    detail: { announced, received },
  });
}

/** The error for a body that ended early, or for a store that failed. What arrived is kept, and the client may continue. */
function interrupted(error: unknown, byClient: boolean): unknown {
  if (error instanceof OciError) return error;
  if (byClient)
    return new OciError('SIZE_INVALID', {
      message: 'the body was cut off: ask for the offset of the upload and continue from there',
    });
  console.error('the store did not accept a chunk', error);
  return new OciError('UNAVAILABLE', {
    message: 'the bytes could not be stored: ask for the offset of the upload and continue from there',
    headers: { 'Retry-After': '1' },
  });
}

function refused(why: Refusal): OciError {
  if (why.status === 'gone') return new OciError('BLOB_UPLOAD_UNKNOWN');
  return new OciError('BLOB_UPLOAD_INVALID', {
    message: `the next chunk begins at ${why.offset}`,
    detail: { offset: why.offset },
    headers: { Range: `0-${Math.max(0, why.offset - 1)}` },
  });
}
