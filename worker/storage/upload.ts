/**
 * The upload engine. One PUT goes to the store as it arrives. What comes in chunks is hashed and cut into parts as it flows,
 * with its offset, parts and hash kept by an `UploadSession`. Nothing is copied, and nothing read back but where a hash was
 * lost with its isolate, or an algorithm was named only in the end.
 */
import { hasRepository, hasSession, repositoryOf, sessionOf } from '../../durable-objects/address.ts';
import type { OpenUpload, Refused, UploadSession } from '../../durable-objects/upload-session.ts';
import type { Env } from '../env.ts';
import { algorithmOf, type Digest, digestOf } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import { UPLOAD_LIFETIME_MS } from '../oci/limits.ts';
import { lengthOf } from '../oci/range.ts';
import type { Chunk, Upload } from '../oci/registry.ts';
import { type BlobStore, blobStore } from './blobs.ts';
import { digestOfStream, dropHash, leaveHash, resumeHash } from './hash.ts';
import { blobKey } from './key.ts';
import { publish, wrongDigest } from './publish.ts';
import { begunToken, type UploadClaim } from './upload-id.ts';

const NOTHING: Chunk = { body: null, size: 0, range: null };

/** Uploads that this isolate has seen chunks of: some clients go on with the first Location, which does not say so. */
const begunHere = new Set<string>();
const BEGUN_HERE_MAX = 10_000;

export class DurableUpload implements Upload {
  readonly id: string;
  readonly startedAt: number;
  token: string;
  readonly #env: Env;
  readonly #repository: string;
  readonly #claim: UploadClaim;
  readonly #store: BlobStore;

  constructor(env: Env, repository: string, id: string, token: string, claim: UploadClaim) {
    this.#env = env;
    this.#repository = repository;
    this.id = id;
    this.token = token;
    this.#claim = claim;
    this.startedAt = claim.expiresAt - UPLOAD_LIFETIME_MS;
    this.#store = blobStore(env);
  }

  async status(): Promise<number> {
    if (!(await hasSession(this.#env, this.id))) return 0;
    const status = await this.#session().status();
    if (status.status === 'gone') throw new OciError('BLOB_UPLOAD_UNKNOWN');
    return status.status === 'open' ? status.offset : 0;
  }

  async append(chunk: Chunk): Promise<number> {
    checkLength(chunk);
    const reserved = this.#store.partsFor(chunk.size);
    const upload = await this.#session().begin(this.#claim, chunk.range?.first ?? null, reserved);
    if (upload.status !== 'open') throw refused(upload);
    this.#markBegun();
    if (chunk.body === null) return upload.offset;
    return this.#append(upload, chunk, chunk.body, reserved);
  }

  async commit(digest: Digest, chunk: Chunk): Promise<void> {
    checkLength(chunk);
    if (this.#isWhole(chunk) && chunk.body !== null && chunk.size !== null) {
      await this.#commitWhole(digest, chunk.body, chunk.size);
      return;
    }
    const last = chunk.body === null && chunk.range === null ? NOTHING : chunk;
    if (last !== NOTHING) await this.#appendLast(last);
    await this.#commitSession(digest);
  }

  async cancel(): Promise<void> {
    const cancelled = await this.#session().cancel(this.#claim);
    if (cancelled.status === 'gone') throw new OciError('BLOB_UPLOAD_UNKNOWN');
    this.#markBegun();
    dropHash(this.id);
    // A PUT of the whole blob asks no session: the repository refuses what it may still bring.
    await repositoryOf(this.#env, this.#repository).refuseUpload(this.id);
    await this.#store.discard(cancelled.draft);
  }

  /** True for a PUT that brings the whole blob, which then needs no session. */
  #isWhole(chunk: Chunk): boolean {
    const begun = this.#claim.begun || begunHere.has(this.id);
    return !begun && chunk.range === null && chunk.size !== null && chunk.size > 0;
  }

  async #commitWhole(digest: Digest, body: ReadableStream<Uint8Array>, size: number): Promise<void> {
    const key = blobKey(crypto.randomUUID());
    const publication = { repository: this.#repository, digest, size, key, upload: this.id };
    await publish(this.#env, publication, async ({ stored }) => {
      if (!stored) return this.#store.put(key, body, size, digest);
      const content = await digestOfStream(algorithmOf(digest), body);
      return content.digest === digest;
    });
  }

  async #append(
    upload: OpenUpload,
    chunk: Chunk,
    body: ReadableStream<Uint8Array>,
    reserved: number,
  ): Promise<number> {
    const native = this.#store.hashesLive || chunk.range === null;
    const { algorithm } = this.#claim;
    const hash = resumeHash(this.id, { algorithm, offset: upload.offset, saved: upload.hash, native });
    const { draft } = upload;
    const added = await this.#store.append(draft, body, chunk.size, (bytes) => hash?.update(bytes));

    const partBytes = added.parts.reduce((sum, part) => sum + part.size, 0);
    const offset = upload.offset - draft.tail.length + partBytes + added.tail.length;
    const saved = added.intact ? (hash?.save() ?? null) : null;
    const { multipart, parts, tail } = added;
    const progress = {
      from: upload.offset,
      firstPart: draft.firstPart,
      reserved,
      offset,
      multipart,
      parts,
      tail,
    };
    const advanced = await this.#session().advance({ ...progress, hash: saved });
    if (advanced.status !== 'open') {
      await this.#store.withdraw(draft, added).catch((fault: unknown) => {
        console.error('what a refused chunk had stored could not be taken back', fault);
      });
      throw refused(advanced);
    }
    if (saved !== null && hash !== null) leaveHash(this.id, offset, hash);

    if (added.fault !== null) throw interrupted(added.fault, added.intact);
    const received = offset - upload.offset;
    if (chunk.size !== null && received !== chunk.size) throw wrongLength(chunk.size, received);
    if (chunk.range !== null && received !== lengthOf(chunk.range))
      throw wrongLength(lengthOf(chunk.range), received);
    return offset;
  }

  /** The last chunk may be the repetition of one that came through, of a final PUT whose answer was lost. */
  async #appendLast(chunk: Chunk): Promise<void> {
    try {
      await this.append(chunk);
    } catch (fault) {
      // Whether it was this digest that ended the upload is seen next.
      if (!(fault instanceof OciError) || fault.code !== 'BLOB_UPLOAD_UNKNOWN') throw fault;
    }
  }

  async #commitSession(digest: Digest): Promise<void> {
    let sealed = await this.#session().seal(digest);
    if (sealed.status === 'none') {
      await this.#session().begin(this.#claim, 0, 0); // An empty blob, in no request but this.
      sealed = await this.#session().seal(digest);
    }
    if (sealed.status === 'mismatch') {
      await this.#store.discard(sealed.draft);
      throw wrongDigest(digest);
    }
    if (sealed.status !== 'open') throw new OciError('BLOB_UPLOAD_UNKNOWN');
    dropHash(this.id);
    if (sealed.again && (await this.#isLinked(digest))) return;
    await this.#publishDraft(digest, sealed, sealed.again);
  }

  async #publishDraft(digest: Digest, { draft, hash, offset }: OpenUpload, again: boolean): Promise<void> {
    const key = this.#store.keyOf(draft);
    const running = offset === 0 ? await digestOf(algorithmOf(digest), new Uint8Array()) : hash?.digest;
    const known = running !== undefined && algorithmOf(running) === algorithmOf(digest);
    // Without the running hash the content is finished first and read back once, before anybody may see it.
    if (!known) await this.#store.finish(draft, again);
    if (known ? running !== digest : !(await this.#isContent(digest, key))) {
      await this.#store.discard(draft);
      throw wrongDigest(digest);
    }
    const publication = { repository: this.#repository, digest, size: offset, key, upload: null };
    await publish(this.#env, publication, async (object) => {
      // Where the registry has the same bytes already, the draft stays until its session ends: a repetition of this request
      // may be publishing it.
      if (object.key === key && known && !object.stored) await this.#store.finish(draft, again);
      return true;
    });
  }

  async #isContent(digest: Digest, key: string): Promise<boolean> {
    const body = await this.#store.get(key);
    if (body === null) throw new Error(`${key} was stored and is not there`);
    return (await digestOfStream(algorithmOf(digest), body)).digest === digest;
  }

  async #isLinked(digest: Digest): Promise<boolean> {
    if (!(await hasRepository(this.#env, this.#repository))) return false;
    return (await repositoryOf(this.#env, this.#repository).blob(digest)) !== null;
  }

  #markBegun(): void {
    this.token = begunToken(this.token);
    begunHere.add(this.id);
    const [oldest] = begunHere;
    if (begunHere.size > BEGUN_HERE_MAX && oldest !== undefined) begunHere.delete(oldest);
  }

  #session(): DurableObjectStub<UploadSession> {
    return sessionOf(this.#env, this.id);
  }
}

/** What Content-Range and Content-Length say must agree. */
function checkLength({ size, range }: Chunk): void {
  if (range !== null && size !== null && lengthOf(range) !== size) throw wrongLength(lengthOf(range), size);
}

function wrongLength(announced: number, received: number): OciError {
  return new OciError('SIZE_INVALID', {
    message: `the chunk was announced with ${announced} bytes and has ${received}`,
    detail: { announced, received },
  });
}

/** The body ended early (what came is kept, and the client may go on from there), or the store failed. */
function interrupted(fault: unknown, byClient: boolean): unknown {
  if (fault instanceof OciError) return fault;
  if (byClient)
    return new OciError('SIZE_INVALID', {
      message: 'the body was cut off: go on from where the upload stands',
    });
  console.error('the store did not take a chunk', fault);
  return new OciError('UNAVAILABLE', {
    message: 'the bytes could not be stored: go on from where the upload stands',
  });
}

function refused(why: Refused): OciError {
  if (why.status === 'gone') return new OciError('BLOB_UPLOAD_UNKNOWN');
  return new OciError('BLOB_UPLOAD_INVALID', {
    message: `the next chunk begins at ${why.offset}`,
    detail: { offset: why.offset },
    headers: { Range: `0-${Math.max(0, why.offset - 1)}` },
  });
}
