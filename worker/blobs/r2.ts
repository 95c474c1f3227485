/**
 * Blobs in an R2 bucket. R2 requires streams of a known length, parts of equal size except for the last, and at most 1,000 keys in
 * a delete. A multipart upload is used only for content of at least one part. Cloudflare docs, "R2 Workers API".
 */
import { algorithmOf, type Digest, digestFrom, encodedOf } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import { BodyReader } from './body.ts';
import { blobKey, contentIdOf, isContentId } from './storage-key.ts';
import type {
  AppendContext,
  AppendResult,
  BlobStore,
  DirectStore,
  Draft,
  Part,
  StoredContent,
  StoredPage,
} from './store.ts';
import { bytesOf, sizeOfDraft, Tail } from './tail.ts';

/**
 * R2 wants parts of equal size except for the last, of at least 5 MiB, and at most 10,000 of them. 7 MiB allows a blob of 68 GiB.
 * Each upload needs two such buffers and one to read into: six uploads at once stay below MEMORY_BYTES.
 */
export const PART_BYTES = 7 * 1024 * 1024;
const PARTS_MAX = 10_000;
/** Part numbers reserved for a body of unknown length: enough for 5 GiB, the largest body that Cloudflare accepts on any plan. */
const PARTS_RESERVED_UNKNOWN = 750;
/** Keys that one R2 delete accepts. */
export const DELETE_KEYS_MAX = 1000;

const TRIES = 3;
/** Failed batches of one call that are split and tried again. This finds a few bad keys among 1,000, and costs little in an outage. */
const DELETE_RETRIES_MAX = 50;

/** The headers that a custom domain of the bucket sends. They make a browser save the content and never show it. */
const AS_DATA = {
  httpMetadata: { contentType: 'application/octet-stream', contentDisposition: 'attachment' },
};

/** The numbers at the end of R2's messages. */
const WRONG_DIGEST = 10037;
const NO_SUCH_UPLOAD = 10024;

export class R2Blobs implements BlobStore {
  readonly isSingleIsolate = false;
  readonly tailMax = PART_BYTES;
  readonly inlineMaxBytes = null;
  readonly direct: DirectStore;
  readonly #bucket: R2Bucket;

  constructor(bucket: R2Bucket) {
    this.#bucket = bucket;
    this.direct = {
      begin: async (key) => (await bucket.createMultipartUpload(key, AS_DATA)).uploadId,
      stored: async (key) => {
        const object = await bucket.head(key);
        if (object === null) return null;
        const { size, checksums } = object;
        const digest =
          checksums.sha256 === undefined ? null : digestFrom('sha256', new Uint8Array(checksums.sha256));
        return { size, digest, hasOwnHeaders: hasOwnHeaders(object) };
      },
    };
  }

  /** R2 checks the digest as the stream arrives. */
  async put(key: string, body: ReadableStream<Uint8Array>, size: number, digest: Digest): Promise<boolean> {
    const content = size === 0 ? new Uint8Array() : body;
    try {
      await this.#bucket.put(key, content, { ...AS_DATA, [algorithmOf(digest)]: encodedOf(digest) });
      return true;
    } catch (error) {
      if (codeOf(error) === WRONG_DIGEST) return false;
      throw error;
    }
  }

  partsFor(size: number | null): number {
    return size === null ? PARTS_RESERVED_UNKNOWN : Math.ceil(size / PART_BYTES) + 1;
  }

  async append(
    draft: Draft,
    body: ReadableStream<Uint8Array>,
    size: number | null,
    writing: AppendContext,
  ): Promise<AppendResult> {
    const parts = new PartWriter(this.#bucket, draft, this.partsFor(size), writing);
    const reader = new BodyReader(body, writing.lease, () => parts.spill());
    let error: unknown = null;
    try {
      for (;;) {
        const piece = await reader.read().catch((reason: unknown) => {
          error = reason; // The connection was cut. The bytes before are still good.
          return null;
        });
        if (piece === null) break;
        await parts.write(piece);
      }
      const tail = await parts.end();
      return { multipart: parts.multipart, parts: parts.written, tail, error, intact: true };
    } catch (reason) {
      await parts.settle();
      const { multipart, written } = parts;
      return { multipart, parts: written, tail: new Uint8Array(), error: reason, intact: false };
    }
  }

  /** R2 drops uploaded parts that are not listed when the upload is completed. */
  async withdraw(draft: Draft, { multipart }: AppendResult): Promise<void> {
    if (draft.multipart === null && multipart !== null) await this.#abort(blobKey(draft.id), multipart);
  }

  keyOf(draft: Draft): string {
    return blobKey(draft.id);
  }

  async finish(draft: Draft, again: boolean): Promise<boolean> {
    const key = this.keyOf(draft);
    if (draft.multipart === null) {
      // R2 refuses a second write to a key within a second. So check first whether an earlier request has written it.
      const there = async () => (await this.sizeOf(key)) === draft.tail.size;
      if (again && (await there())) return true;
      try {
        await this.#bucket.put(key, bytesOf(draft.tail), AS_DATA);
      } catch (error) {
        if (!(await there())) throw error; // Refused because a repetition of this request was faster.
      }
      return true;
    }
    const upload = this.#bucket.resumeMultipartUpload(key, draft.multipart);
    const parts = draft.parts.map(({ number, etag }) => ({ partNumber: number, etag }));
    try {
      if (draft.tail.size > 0) parts.push(await upload.uploadPart(draft.firstPart, bytesOf(draft.tail)));
      await upload.complete(parts);
      return true;
    } catch (error) {
      if (codeOf(error) !== NO_SUCH_UPLOAD) throw error;
      // An earlier request, whose answer was lost, has completed it.
      return (await this.sizeOf(key)) === sizeOfDraft(draft);
    }
  }

  async abandon(draft: Draft): Promise<void> {
    if (draft.multipart !== null) await this.#abort(this.keyOf(draft), draft.multipart);
  }

  async discard(draft: Draft): Promise<void> {
    await this.abandon(draft);
    await this.#bucket.delete(this.keyOf(draft));
  }

  async get(key: string, range?: { offset: number; length: number }): Promise<StoredContent | null> {
    const object = await this.#bucket.get(key, range === undefined ? {} : { range });
    return object === null ? null : { body: object.body, size: object.size };
  }

  async sizeOf(key: string): Promise<number | null> {
    return (await this.#bucket.head(key))?.size ?? null;
  }

  /** One bad key fails a whole call to R2, so a failed call is split in halves, up to DELETE_RETRIES_MAX times. */
  async delete(keys: string[]): Promise<string[]> {
    const failed: string[] = [];
    const batches: string[][] = [];
    for (let at = 0; at < keys.length; at += DELETE_KEYS_MAX)
      batches.push(keys.slice(at, at + DELETE_KEYS_MAX));
    let retries = 0;
    for (let batch = batches.shift(); batch !== undefined; batch = batches.shift()) {
      try {
        await this.#bucket.delete(batch);
      } catch (error) {
        console.error(`${batch.length} keys from ${batch[0]} on could not be deleted`, error);
        const half = batch.length >> 1;
        if (half === 0 || retries === DELETE_RETRIES_MAX) failed.push(...batch);
        else batches.unshift(batch.slice(0, half), batch.slice(half));
        if (retries < DELETE_RETRIES_MAX) retries++;
      }
    }
    return failed;
  }

  async list(after: string, count: number): Promise<StoredPage> {
    const options = { prefix: blobKey(''), startAfter: blobKey(after), limit: count };
    const { objects, truncated } = await this.#bucket.list(options);
    const last = objects.at(-1);
    const own = objects.filter(
      ({ key }) => isContentId(contentIdOf(key)) && key === blobKey(contentIdOf(key)),
    );
    return {
      entries: own.map(({ key, size, uploaded }) => ({
        id: contentIdOf(key),
        changedAt: uploaded.getTime(),
        keys: [{ key, size }],
      })),
      next: truncated && last !== undefined ? last.key.slice(blobKey('').length) : null,
    };
  }

  async #abort(key: string, multipart: string): Promise<void> {
    try {
      await this.#bucket.resumeMultipartUpload(key, multipart).abort();
    } catch (error) {
      if (codeOf(error) !== NO_SUCH_UPLOAD) throw error;
    }
  }
}

function hasOwnHeaders({ httpMetadata = {} }: R2Object): boolean {
  const wanted: R2HTTPMetadata = AS_DATA.httpMetadata;
  const names = Object.keys(httpMetadata) as (keyof R2HTTPMetadata)[];
  const isAsWanted = names.every((name) => [wanted[name], undefined].includes(httpMetadata[name]));
  // With the type of data, no browser shows it. containerd sends no other header.
  return isAsWanted && httpMetadata.contentType === wanted.contentType;
}

/** Cuts written bytes into equal parts, and uploads one part while the next fills. */
class PartWriter {
  multipart: string | null;
  /** The parts that were uploaded and not saved yet, in order. */
  written: Part[] = [];
  readonly #bucket: R2Bucket;
  readonly #key: string;
  readonly #writing: AppendContext;
  readonly #tail: Tail;
  /** The number of the next part, and the first number that is not reserved. */
  #number: number;
  readonly #end: number;
  #uploading: Promise<void> | null = null;

  constructor(bucket: R2Bucket, draft: Draft, reserved: number, writing: AppendContext) {
    this.#bucket = bucket;
    this.#key = blobKey(draft.id);
    this.#writing = writing;
    this.multipart = draft.multipart;
    this.#number = draft.firstPart;
    this.#end = draft.firstPart + reserved;
    this.#tail = new Tail(draft.tail, writing, {
      max: PART_BYTES,
      keep: (bytes) => this.#keep(bytes),
      freeMemory: async () => this.#uploading ?? undefined,
    });
  }

  async write(piece: Uint8Array): Promise<void> {
    for (let at = 0; at < piece.length; ) {
      if (this.#tail.size === PART_BYTES) await this.#flush();
      const some = piece.subarray(at, at + PART_BYTES - this.#tail.size);
      await this.#tail.add(some);
      at += some.length;
    }
  }

  /** Saves what has arrived so far, and releases its memory. */
  spill(): Promise<void> {
    return this.#tail.spill();
  }

  /** Uploads a last full part, and returns the rest of the bytes. In the session a full part would be six rows more. */
  async end(): Promise<Uint8Array> {
    const { size, isInMemory } = this.#tail;
    if (size === PART_BYTES && isInMemory) await this.#flush();
    await this.#uploading;
    return this.#tail.fresh();
  }

  /** Waits until the running part upload has succeeded or failed. */
  async settle(): Promise<void> {
    await this.#uploading?.catch(() => undefined);
  }

  async #keep(tail: Uint8Array): Promise<void> {
    await this.#uploading;
    const parts = this.written;
    await this.#writing.keep({ multipart: this.multipart, parts, tail });
    this.written = [];
  }

  async #flush(): Promise<void> {
    await this.#uploading;
    this.multipart ??= (await this.#bucket.createMultipartUpload(this.#key, AS_DATA)).uploadId;
    if (this.#number > PARTS_MAX) {
      throw new OciError('SIZE_INVALID', {
        message: `a blob has at most ${PARTS_MAX} parts of ${PART_BYTES} bytes`,
        status: 413,
      });
    }
    if (this.#number >= this.#end) throw new Error('the body is longer than its Content-Length');
    const { bytes, held } = await this.#tail.take();
    this.#uploading = this.#upload(this.multipart, this.#number++, bytes).finally(() => {
      this.#writing.lease.give(held);
    });
    this.#uploading.catch(() => undefined); // It is awaited later. Until then, a rejection must not count as unhandled.
  }

  async #upload(multipart: string, number: number, bytes: Uint8Array): Promise<void> {
    const upload = this.#bucket.resumeMultipartUpload(this.#key, multipart);
    for (let attempt = 1; ; attempt++) {
      try {
        const { etag } = await upload.uploadPart(number, bytes);
        this.written.push({ number, size: bytes.length, etag });
        return;
      } catch (error) {
        if (attempt === TRIES || codeOf(error) === NO_SUCH_UPLOAD) throw error;
      }
    }
  }
}

/** The number in parentheses that ends the messages of R2's errors. */
function codeOf(error: unknown): number | null {
  const match = error instanceof Error ? /\((\d+)\)\s*$/.exec(error.message) : null;
  return match === null ? null : Number(match[1]);
}
