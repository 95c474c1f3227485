// Bytes of a source: read from files in pieces, and hashed before they are believed.
import { createHash, type Hash } from 'node:crypto';
import { constants, type Stats } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { algorithmOf, encodedOf } from '../../../worker/oci/digest.ts';
import type { CommandFailure } from '../../failure.ts';
import type { SourceBlob, SourceDescriptor } from '../source.ts';
import type { Content } from '../upload.ts';
import { sourceFailure } from './failure.ts';

/** Larger pieces are not quicker. */
const PIECE_BYTES = 256 * 1024;
/** Buffers that are kept for later: two for each of some contents that are read at once. */
const FREE_MAX = 16;

/** Reads at a position. Fewer bytes than asked for mean the end. */
export interface RandomAccess {
  /** The bytes are written to `into`, which has at least `length` bytes, if it is given. */
  read(position: number, length: number, into?: Buffer): Promise<Buffer>;
}

export interface ImageFile extends Content {
  /** After links. */
  readonly path: string;
}

/** The files of an image by their path, in a folder or in an archive. */
export interface ImageFiles extends AsyncDisposable {
  /** For messages: `the archive app.tar`. */
  readonly name: string;
  /** Null if there is no such file. */
  find(path: string): Promise<ImageFile | null>;
  /** Waits until an archive that arrives from elsewhere is here. Throws a CommandFailure if it is damaged. */
  complete(): Promise<void>;
}

/** A part of something that can be read at any position. */
export function partOf(access: RandomAccess, offset: number, size: number, name: string): Content {
  return {
    size,
    async *open(start, end) {
      const read = (at: number) => readAhead(access, offset + at, Math.min(PIECE_BYTES, end - at));
      let next = start < end ? read(start) : null;
      try {
        for (let at = start; next !== null; ) {
          const { piece, buffer } = await next;
          next = null;
          if (piece.length === 0) throw changed(name);
          at += piece.length;
          if (at < end) next = read(at);
          yield piece;
          // Only if the caller has asked for more it is done with this one.
          give(buffer);
        }
      } finally {
        next?.then(({ buffer }) => give(buffer)).catch(() => {});
      }
    },
  };
}

interface Read {
  readonly piece: Buffer;
  readonly buffer: Buffer;
}

/** Memory that no one uses. Fresh memory for each piece would wait for the garbage collection, which counts objects and not bytes. */
const freeBuffers: Buffer[] = [];

function readAhead(access: RandomAccess, position: number, length: number): Promise<Read> {
  const buffer = freeBuffers.pop() ?? Buffer.allocUnsafeSlow(PIECE_BYTES);
  const reading = access.read(position, length, buffer).then((piece) => ({ piece, buffer }));
  // The caller hears of the error when it asks for this piece.
  reading.catch(() => {});
  return reading;
}

function give(buffer: Buffer): void {
  if (freeBuffers.length < FREE_MAX) freeBuffers.push(buffer);
}

/** A file that must stay as it is. Throws a CommandFailure if it was changed or replaced by a shorter or longer one. */
export function fileContent(path: string, { size, mtimeMs }: Stats): Content {
  return {
    size,
    async *open(start, end) {
      const file = await openForReading(path);
      const check = async () => {
        const now = await file.stat();
        if (now.size !== size || now.mtimeMs !== mtimeMs) throw changed(path);
      };
      try {
        await check();
        const access: RandomAccess = { read: (...where) => readAt(file, ...where) };
        yield* partOf(access, 0, size, path).open(start, end);
        await check();
      } finally {
        await file.close();
      }
    },
  };
}

export async function openForReading(path: string): Promise<FileHandle> {
  try {
    return await open(path, constants.O_RDONLY);
  } catch (error) {
    throw unreadable(path, error);
  }
}

/** See RandomAccess. */
export async function readAt(
  file: FileHandle,
  position: number,
  length: number,
  into?: Buffer,
): Promise<Buffer> {
  const buffer = into ?? Buffer.allocUnsafeSlow(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await file.read(buffer, filled, length - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}

/** The whole content, which is small. Throws a CommandFailure if it has more than `maxBytes`. */
export async function readWhole(content: Content, maxBytes: number, what: string): Promise<Buffer> {
  if (content.size > maxBytes) {
    throw sourceFailure(
      `${what} has ${content.size} bytes, and at most ${maxBytes} are allowed.\nIt is not the file of an image: check the source.`,
    );
  }
  const pieces: Uint8Array[] = [];
  for await (const piece of content.open(0, content.size)) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces);
}

/** A blob that is hashed while it is read from its beginning. Bytes that are read again are not hashed again. */
export function verifiedBlob(descriptor: SourceDescriptor, content: Content, source: string): SourceBlob {
  const check = new PrefixHash(descriptor, source);
  return {
    descriptor,
    size: descriptor.size,
    unchecked: content,
    async *open(start, end) {
      check.throwIfWrong();
      let at = start;
      for await (const piece of content.open(start, end)) {
        check.add(piece, at);
        at += piece.length;
        yield piece;
      }
    },
  };
}

/** The hash of what was read without a gap from the beginning. */
class PrefixHash {
  readonly #descriptor: SourceDescriptor;
  readonly #source: string;
  readonly #hash: Hash;
  #length = 0;
  #isWrong = false;

  constructor(descriptor: SourceDescriptor, source: string) {
    this.#descriptor = descriptor;
    this.#source = source;
    this.#hash = createHash(algorithmOf(descriptor.digest));
  }

  add(piece: Uint8Array, at: number): void {
    const known = this.#length - at;
    if (known < 0 || known >= piece.length) return;
    this.#hash.update(known === 0 ? piece : piece.subarray(known));
    this.#length = at + piece.length;
    if (this.#length < this.#descriptor.size) return;
    this.#isWrong = this.#hash.digest('hex') !== encodedOf(this.#descriptor.digest);
    this.throwIfWrong();
  }

  throwIfWrong(): void {
    if (this.#isWrong) throw wrongDigest(this.#descriptor.digest, this.#source);
  }
}

export function wrongDigest(digest: string, source: string): CommandFailure {
  return sourceFailure(
    `The bytes of ${digest} in ${source} have another digest. They are damaged, or the source changed while it was read.\nWrite the source again, then try again.`,
  );
}

export function changed(name: string): CommandFailure {
  return sourceFailure(
    `${name} changed while it was read.\nWait until nothing writes to it, then try again.`,
  );
}

export function unreadable(path: string, error: unknown): CommandFailure {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return sourceFailure(`There is no file ${path}.\nCheck the path.`);
  }
  if (code === 'EACCES' || code === 'EPERM') {
    return sourceFailure(
      `You may not read ${path}.\nChange its permissions, or run the command as its owner.`,
    );
  }
  return sourceFailure(`Cannot read ${path}: ${code ?? error}.\nCheck the file and its disk.`);
}
