/**
 * Blobs in a folder, through workerd's disk service. This HTTP service can PUT a stream of any length, GET a range, and DELETE a file
 * or a folder, but it cannot append or rename. So content that arrived in pieces stays in pieces, and a small list beside them gives
 * their order.
 *
 * The disk service never syncs. So the parent process (`SYNC`) syncs stored files before a client is told that they are stored:
 * decision 15.
 */

import type { Lease } from '../memory/budget.ts';
import { algorithmOf, type Digest, digestOf } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import { BodyReader, READ_BYTES, readWhole } from './body.ts';
import { NativeHash } from './hash.ts';
import { blobKey, inlineBlobOf, isInlineKey } from './storage-key.ts';
import type {
  AppendContext,
  AppendResult,
  BlobStore,
  Draft,
  Part,
  StoredContent,
  StoredPage,
  Tap,
} from './store.ts';
import { bytesOf, sizeOfDraft, Tail } from './tail.ts';

/** A chunk below this size waits in the session for the next one. */
const DISK_PART_MIN_BYTES = 1024 * 1024;

/** The file name of the list of pieces: `[number, size]` of each, in order. */
const LIST = 'parts';

/** Reads the bytes of a small blob, which its repository keeps beside the link; null if there are none. */
type InlineBytes = (repository: string, digest: Digest) => Promise<Uint8Array | null>;

/** What the parent process lists. The name of a file that is in no folder of its own is empty. */
interface ListedFolders {
  folders: { id: string; changedAt: number; files: { name: string; size: number }[] }[];
  next: string | null;
}

type Pieces = [number: number, size: number][];

export class DiskBlobs implements BlobStore {
  readonly isSingleIsolate = true;
  readonly direct = null;
  /** The tail is written to a file after the read that makes it large enough. */
  readonly tailMax = DISK_PART_MIN_BYTES + READ_BYTES;
  readonly inlineMaxBytes: number;
  readonly #disk: Fetcher;
  readonly #syncs: Fetcher | undefined;
  readonly #inline: InlineBytes;

  /** Without `syncs`, `disk` itself syncs before it answers. `inline` reads the bytes of small blobs. */
  constructor(disk: Fetcher, syncs: Fetcher | undefined, inline: InlineBytes, inlineMaxBytes: number) {
    this.inlineMaxBytes = inlineMaxBytes;
    this.#disk = disk;
    this.#syncs = syncs;
    this.#inline = inline;
  }

  put(
    key: string,
    body: ReadableStream<Uint8Array>,
    size: number,
    digest: Digest,
    lease: Lease,
  ): Promise<boolean> {
    return size <= READ_BYTES
      ? this.#putSmall(key, body, size, digest, lease)
      : this.#putLarge(key, body, size, digest, lease);
  }

  async #putLarge(
    key: string,
    body: ReadableStream<Uint8Array>,
    size: number,
    digest: Digest,
    lease: Lease,
  ): Promise<boolean> {
    const hash = new NativeHash(algorithmOf(digest));
    let good = false;
    try {
      const { bytes, error } = await this.#write(key, new BodyReader(body, lease), null, (piece) =>
        hash.update(piece),
      );
      if (error !== null) throw error;
      if (bytes !== size || hash.save().digest !== digest) return false;
      await this.#sync([key], lease);
      good = true;
      return true;
    } finally {
      if (!good) await this.#removeContent(key); // The disk service keeps a truncated body as a short file.
    }
  }

  /** Checks small content before it is written, so nothing has to be removed and no stream is needed. */
  async #putSmall(
    key: string,
    body: ReadableStream<Uint8Array>,
    size: number,
    digest: Digest,
    lease: Lease,
  ): Promise<boolean> {
    const reader = new BodyReader(body, lease);
    const bytes = await readWhole(reader, size, lease);
    if (bytes === null || (await digestOf(algorithmOf(digest), bytes)) !== digest) return false;
    await this.#putBytes(key, bytes);
    await this.#sync([key], lease);
    return true;
  }

  /** A request adds one piece of any size. */
  partsFor(): number {
    return 1;
  }

  async append(
    draft: Draft,
    body: ReadableStream<Uint8Array>,
    _size: number | null,
    writing: AppendContext,
  ): Promise<AppendResult> {
    const { lease, tap } = writing;
    const tail = new Tail(draft.tail, writing, {
      max: this.tailMax,
      keep: (bytes) => writing.keep({ multipart: null, parts: [], tail: bytes }),
      freeMemory: async () => {},
    });
    const reader = new BodyReader(body, lease, () => tail.spill());
    try {
      const { ended, error } = await readHead(reader, tail);
      if (ended) return { multipart: null, parts: [], tail: tail.fresh(), error, intact: true };
      const key = `${blobKey(draft.id)}/${draft.firstPart}`;
      const head = await tail.take();
      const written = await this.#write(key, reader, head.bytes, tap, () => lease.give(head.held));
      // Sync before the session moves the offset behind this piece.
      await this.#sync([key], lease);
      const part: Part = { number: draft.firstPart, size: written.bytes, etag: '' };
      return { multipart: null, parts: [part], tail: new Uint8Array(), error: written.error, intact: true };
    } catch (error) {
      return { multipart: null, parts: [], tail: new Uint8Array(), error, intact: false };
    }
  }

  async withdraw(draft: Draft, { parts }: AppendResult): Promise<void> {
    for (const { number } of parts) await this.#remove(`${blobKey(draft.id)}/${number}`);
  }

  /** The file of a single piece, or the list of several pieces. */
  keyOf(draft: Draft): string {
    const pieces = piecesOf(draft);
    const [only] = pieces;
    return `${blobKey(draft.id)}/${pieces.length === 1 && only !== undefined ? only[0] : LIST}`;
  }

  async finish(draft: Draft, again: boolean): Promise<boolean> {
    const folder = blobKey(draft.id);
    const pieces = piecesOf(draft);
    const written: string[] = [];
    const write = async (key: string, bytes: Uint8Array) => {
      await this.#putBytes(key, bytes);
      written.push(key);
    };
    if (pieces.length > draft.parts.length) await write(`${folder}/${draft.firstPart}`, bytesOf(draft.tail));
    if (pieces.length > 1) await write(this.keyOf(draft), new TextEncoder().encode(JSON.stringify(pieces)));
    if (written.length > 0) await this.#sync(written);
    // Remove the files of chunks that did not become part of the upload, because their requests failed.
    const numbers = new Set(pieces.map(([number]) => number));
    for (let number = 1; number < draft.firstPart; number++) {
      if (!numbers.has(number)) await this.#remove(`${folder}/${number}`);
    }
    return !again || (await this.sizeOf(this.keyOf(draft))) === sizeOfDraft(draft);
  }

  /** Nothing to remove: all pieces are in the folder that the storage key leads to. */
  async abandon(): Promise<void> {}

  async discard(draft: Draft): Promise<void> {
    await this.#removeContent(blobKey(draft.id));
  }

  async get(key: string, range?: { offset: number; length: number }): Promise<StoredContent | null> {
    if (isInlineKey(key)) return this.#getInline(key, range);
    if (!key.endsWith(`/${LIST}`)) return this.#getFile(key, range);
    const pieces = await this.#piecesIn(key);
    if (pieces === null) return null;
    const size = pieces.reduce((sum, [, bytes]) => sum + bytes, 0);
    const folder = key.slice(0, -LIST.length);
    const slices = slicesOf(pieces, range ?? { offset: 0, length: size });
    // Detect an incomplete piece before the answer begins.
    for (const { number, whole } of slices) {
      if ((await this.#sizeOfFile(`${folder}${number}`)) !== whole) return null;
    }
    return { body: this.#joined(folder, slices), size };
  }

  async sizeOf(key: string): Promise<number | null> {
    if (isInlineKey(key)) return (await this.#getInline(key))?.size ?? null;
    if (!key.endsWith(`/${LIST}`)) return this.#sizeOfFile(key);
    const pieces = await this.#piecesIn(key);
    let total = 0;
    for (const [number, size] of pieces ?? []) {
      if ((await this.#sizeOfFile(`${key.slice(0, -LIST.length)}${number}`)) !== size) return null;
      total += size;
    }
    return pieces === null ? null : total;
  }

  async delete(keys: string[]): Promise<string[]> {
    const failed: string[] = [];
    for (const key of keys) {
      try {
        await this.#removeContent(key);
      } catch (error) {
        console.error(`${key} could not be deleted`, error);
        failed.push(key);
      }
    }
    return failed;
  }

  /** Workerd lists a folder at once and without sizes, so the parent process lists it. */
  async list(after: string, count: number): Promise<StoredPage> {
    const query = new URLSearchParams({ after, count: String(count) });
    const response = await this.#syncs?.fetch(`http://sync/?${query}`);
    if (response === undefined) throw new Error('this folder cannot be listed');
    if (!response.ok)
      throw new Error(`listing the folder failed: ${response.status} ${await response.text()}`);
    const { folders, next } = (await response.json()) as ListedFolders;
    const entries = folders.map(async ({ id, changedAt, files }) => ({
      id,
      changedAt,
      keys: await Promise.all(
        files.map(async ({ name, size }) => {
          const key = name === '' ? blobKey(id) : `${blobKey(id)}/${name}`;
          return { key, size: name === LIST ? await this.sizeOf(key) : size };
        }),
      ),
    }));
    return { entries: await Promise.all(entries), next };
  }

  /** Removes content, and its folder if it has one. */
  async #removeContent(key: string): Promise<void> {
    const [blobs, id] = key.split('/');
    await this.#remove(`${blobs}/${id}`);
  }

  /**
   * Waits until files are synced. It gives back all memory first, because a sync may take long, and the runtime may silently end a
   * request whose client has disconnected.
   *
   * Throws UNAVAILABLE if the sync is not confirmed.
   */
  async #sync(keys: string[], lease: Lease | null = null): Promise<void> {
    lease?.end();
    if (this.#syncs === undefined) return;
    try {
      const init = { method: 'POST', body: JSON.stringify(keys) };
      const response = await this.#syncs.fetch('http://sync/', init);
      const text = await response.text();
      if (!response.ok) throw new Error(`${response.status} ${text}`);
    } catch (error) {
      console.error('files were written but could not be synced', keys, error);
      throw new OciError('UNAVAILABLE', {
        message: 'the disk did not confirm that the content is safe: try again',
        headers: { 'Retry-After': '1' },
      });
    }
  }

  /** Removes a file or a whole folder. */
  async #remove(path: string): Promise<void> {
    const response = await this.#disk.fetch(urlOf(path), { method: 'DELETE' });
    await response.body?.cancel();
    if (!response.ok && response.status !== 404)
      throw new Error(`the disk answered ${response.status} to a DELETE`);
  }

  /**
   * Writes the bytes `before` and then those of the reader to a file. Calls `written` after the former. If the reader throws, the file
   * ends there, and its error is returned. An error of the disk is thrown.
   */
  async #write(
    key: string,
    reader: BodyReader,
    before: Uint8Array | null,
    tap: Tap,
    written: () => void = () => {},
  ): Promise<{ bytes: number; error: unknown }> {
    const { readable, writable } = new IdentityTransformStream();
    const stored = this.#disk.fetch(urlOf(key), { method: 'PUT', body: readable });
    stored.catch(() => undefined); // It is awaited below. A failure is seen in the writer first.
    const writer = writable.getWriter();
    let bytes = 0;
    let error: unknown = null;
    if (before !== null && before.length > 0) {
      await writer.write(before);
      bytes += before.length;
    }
    written();
    for (;;) {
      const piece = await reader.read().catch((reason: unknown) => {
        error = reason;
        return null;
      });
      if (piece === null) break;
      tap(piece);
      await writer.write(piece);
      bytes += piece.length;
    }
    await writer.close();
    await checkStored(await stored);
    return { bytes, error };
  }

  async #putBytes(key: string, bytes: Uint8Array): Promise<void> {
    await checkStored(await this.#disk.fetch(urlOf(key), { method: 'PUT', body: bytes as BodyInit }));
  }

  async #getInline(key: string, range?: { offset: number; length: number }): Promise<StoredContent | null> {
    const { repository, digest } = inlineBlobOf(key);
    const bytes = await this.#inline(repository, digest);
    if (bytes === null) return null;
    const slice = range === undefined ? bytes : bytes.subarray(range.offset, range.offset + range.length);
    return { body: new Response(slice as BodyInit).body ?? new ReadableStream(), size: bytes.length };
  }

  /** Null if the file does not exist, or ends before the range. */
  async #getFile(key: string, range?: { offset: number; length: number }): Promise<StoredContent | null> {
    const headers: HeadersInit =
      range === undefined ? {} : { Range: `bytes=${range.offset}-${range.offset + range.length - 1}` };
    const response = await this.#disk.fetch(urlOf(key), { headers });
    const { status, body } = response;
    const total =
      response.headers.get('Content-Range')?.split('/')[1] ?? response.headers.get('Content-Length');
    if (response.ok && body !== null) return { body, size: Number(total) };
    await body?.cancel();
    if (status === 404 || status === 416) return null;
    throw new Error(`the disk answered ${status} to a GET`);
  }

  async #sizeOfFile(key: string): Promise<number | null> {
    const response = await this.#disk.fetch(urlOf(key), { method: 'HEAD' });
    await response.body?.cancel();
    if (response.ok) return Number(response.headers.get('Content-Length'));
    if (response.status === 404) return null;
    throw new Error(`the disk answered ${response.status} to a HEAD`);
  }

  /** The list of pieces. Null if it does not exist or is not complete. */
  async #piecesIn(key: string): Promise<Pieces | null> {
    const list = await this.#getFile(key);
    if (list === null) return null;
    const text = await new Response(list.body).text();
    try {
      return JSON.parse(text);
    } catch {
      return null; // The file is truncated.
    }
  }

  /** Streams pieces one after another, as if they were one file. */
  #joined(folder: string, slices: Slice[]): ReadableStream<Uint8Array> {
    const length = slices.reduce((sum, slice) => sum + slice.length, 0);
    const { readable, writable } = new FixedLengthStream(length);
    const stream = async () => {
      for (const { number, offset, length: some } of slices) {
        const piece = await this.#getFile(`${folder}${number}`, { offset, length: some });
        if (piece === null) throw new Error(`the piece ${folder}${number} is not on the disk`);
        await piece.body.pipeTo(writable, { preventClose: true });
      }
      await writable.close();
    };
    stream().catch((reason) => writable.abort(reason).catch(() => undefined));
    return readable;
  }
}

/** The bytes of one piece that are in a range, and the size of the piece. */
interface Slice {
  number: number;
  offset: number;
  length: number;
  whole: number;
}

function slicesOf(pieces: Pieces, range: { offset: number; length: number }): Slice[] {
  const end = range.offset + range.length;
  const slices: Slice[] = [];
  let at = 0;
  for (const [number, whole] of pieces) {
    const offset = Math.max(range.offset - at, 0);
    const length = Math.min(end - at, whole) - offset;
    at += whole;
    if (length > 0) slices.push({ number, offset, length, whole });
  }
  return slices;
}

/** The pieces of a draft, with its tail as the last one. */
function piecesOf({ parts, tail, firstPart }: Draft): Pieces {
  const pieces: Pieces = parts.map(({ number, size }) => [number, size]);
  if (tail.size > 0 || pieces.length === 0) pieces.push([firstPart, tail.size]);
  return pieces;
}

/** Reads until the tail has enough bytes for a file. */
async function readHead(reader: BodyReader, tail: Tail): Promise<{ ended: boolean; error: unknown }> {
  while (tail.size < DISK_PART_MIN_BYTES) {
    let error: unknown = null;
    const piece = await reader.read().catch((reason: unknown) => {
      error = reason; // The connection was cut: what came before is as good as it was.
      return null;
    });
    if (piece === null) return { ended: true, error };
    await tail.add(piece);
  }
  return { ended: false, error: null };
}

async function checkStored(response: Response): Promise<void> {
  await response.body?.cancel();
  if (!response.ok) throw new Error(`the disk answered ${response.status} to a PUT`);
}

function urlOf(key: string): string {
  return `http://disk/${key}`;
}
