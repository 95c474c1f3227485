/**
 * Temporary files. Each is removed from its folder as soon as it is open, so that the system frees its bytes at the end of the process,
 * also after a crash. Nothing else of the transfer writes outside of the folder of its state.
 */
import { randomBytes } from 'node:crypto';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { CommandFailure } from '../failure.ts';
import { deferred } from './deferred.ts';
import { type RandomAccess, readAt } from './sources/content.ts';

export class TemporaryFile implements RandomAccess, AsyncDisposable {
  /** In bytes. */
  length = 0;
  readonly #folder: string;
  readonly #file: FileHandle;
  /** Set where an open file cannot be removed. */
  readonly #path: string | null;

  private constructor(folder: string, file: FileHandle, path: string | null) {
    this.#folder = folder;
    this.#file = file;
    this.#path = path;
  }

  /** Throws a CommandFailure if the folder for temporary files cannot be used. */
  static async create(env: NodeJS.ProcessEnv): Promise<TemporaryFile> {
    const folder = env.TMPDIR || tmpdir();
    const path = join(folder, `longshore-${randomBytes(12).toString('hex')}`);
    try {
      const file = await open(path, 'wx+', 0o600);
      const removed = await unlink(path).then(
        () => true,
        () => false,
      );
      return new TemporaryFile(folder, file, removed ? null : path);
    } catch (error) {
      throw unwritable(folder, error);
    }
  }

  /** Throws a CommandFailure if the disk is full. */
  async append(piece: Uint8Array): Promise<void> {
    for (let written = 0; written < piece.length; ) {
      try {
        const rest = piece.length - written;
        written += (await this.#file.write(piece, written, rest, this.length + written)).bytesWritten;
      } catch (error) {
        throw unwritable(this.#folder, error);
      }
    }
    this.length += piece.length;
  }

  read(position: number, length: number, into?: Buffer): Promise<Buffer> {
    return readAt(this.#file, position, Math.max(0, Math.min(length, this.length - position)), into);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
    if (this.#path !== null) await unlink(this.#path).catch(() => {});
  }
}

export interface SpoolOptions {
  readonly stream: Readable;
  readonly env: NodeJS.ProcessEnv;
  /** Called after the last byte. Throws if the stream was not whole. */
  readonly ended?: () => Promise<void>;
  /** Makes the error of the stream one for people. */
  readonly explain?: (error: unknown) => unknown;
}

/** A stream in a temporary file. What has arrived can be read while the rest arrives. */
export class Spool implements RandomAccess, AsyncDisposable {
  readonly #file: TemporaryFile;
  readonly #options: SpoolOptions;
  readonly #filled: Promise<void>;
  #isEnded = false;
  #failure: unknown = null;
  #progress = deferred<void>();

  private constructor(file: TemporaryFile, options: SpoolOptions) {
    this.#file = file;
    this.#options = options;
    this.#filled = this.#fill();
  }

  static async from(options: SpoolOptions): Promise<Spool> {
    return new Spool(await TemporaryFile.create(options.env), options);
  }

  /** Waits for the bytes. Throws what the stream threw. */
  async read(position: number, length: number, into?: Buffer): Promise<Buffer> {
    while (this.#file.length < position + length && !this.#isEnded) await this.#progress.promise;
    if (this.#failure !== null) throw this.#failure;
    return this.#file.read(position, length, into);
  }

  /** Waits for the end of the stream. Throws what the stream threw. */
  async complete(): Promise<void> {
    await this.#filled;
    if (this.#failure !== null) throw this.#failure;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#options.stream.destroy();
    await this.#filled;
    await this.#file[Symbol.asyncDispose]();
  }

  async #fill(): Promise<void> {
    const { stream, ended = async () => {}, explain = (error) => error } = this.#options;
    try {
      for await (const piece of stream as AsyncIterable<Uint8Array>) {
        await this.#file.append(piece);
        this.#advance();
      }
      await ended();
    } catch (error) {
      this.#failure = error instanceof CommandFailure ? error : explain(error);
    }
    this.#isEnded = true;
    this.#advance();
  }

  #advance(): void {
    this.#progress.resolve();
    this.#progress = deferred();
  }
}

function unwritable(folder: string, error: unknown): CommandFailure {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG') {
    return new CommandFailure(
      `The disk with the folder for temporary files, ${folder}, is full (${code}).\nFree space there, or set TMPDIR to a folder on another disk.`,
    );
  }
  return new CommandFailure(
    `Cannot write to ${folder}, the folder for temporary files: ${code ?? error}.\nSet TMPDIR to a folder that you may write to.`,
  );
}
