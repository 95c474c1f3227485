// Layers without compression, and the compressed ones that are made of them, in temporary files.
import { createHash } from 'node:crypto';
import { type Digest, digestFrom } from '../../../worker/oci/digest.ts';
import { compress, variantOf } from '../compress.ts';
import { deferred } from '../deferred.ts';
import { CompressedLayers } from '../remembered.ts';
import type { Compression, SourceBlob, SourceOptions } from '../source.ts';
import { TemporaryFile } from '../temporary.ts';
import type { Content } from '../upload.ts';
import { partOf, wrongDigest } from './content.ts';
import { sourceFailure } from './failure.ts';

/** Layers at once. One uses all threads, and the first layer is ready the sooner. */
const LAYERS_AT_ONCE = 1;

const LAYER_TYPES: Readonly<Record<Compression, string>> = {
  gzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  zstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
};

/** A layer that was compressed. */
interface Made {
  diffId: Digest;
  digest: Digest;
  file: TemporaryFile;
}

export class LayerCompressor implements AsyncDisposable {
  /** The media type of what it makes. */
  readonly mediaType: string;
  readonly #options: SourceOptions;
  readonly #remembered: CompressedLayers;
  readonly #variant: string;
  readonly #files = new Set<TemporaryFile>();
  /** By the name of the layer in its source. */
  readonly #jobs = new Map<string, Promise<Made>>();
  /** Layers that were started early and are done, until someone asks for them. */
  readonly #early: SourceBlob[] = [];
  #earlyDone = deferred<void>();
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  #isClosed = false;

  private constructor(options: SourceOptions, remembered: CompressedLayers) {
    this.#options = options;
    this.#remembered = remembered;
    this.#variant = variantOf(options.compression);
    this.mediaType = LAYER_TYPES[options.compression];
  }

  static async create(options: SourceOptions): Promise<LayerCompressor> {
    return new LayerCompressor(options, await CompressedLayers.load(options.env));
  }

  /** Whether the digest is known without compression. */
  knows(diffId: Digest): boolean {
    return this.#remembered.get(diffId, this.#variant) !== null;
  }

  /** Starts to compress a layer before anything else is known of it. Its error is thrown by `layer`. */
  start(name: string, content: Content): void {
    this.#job(name, content).then(
      (made) => {
        this.#early.push(this.#blobOf(name, made));
        this.#earlyDone.resolve();
      },
      () => {},
    );
  }

  /** Layers that were started early, each when it is done, until `end` settles. */
  async *early(end: Promise<unknown>): AsyncGenerator<SourceBlob> {
    let isOver = false;
    const over = () => {
      isOver = true;
    };
    const ended = end.then(over, over);
    while (true) {
      yield* this.#early.splice(0);
      if (isOver) return;
      this.#earlyDone = deferred();
      if (this.#early.length === 0) await Promise.race([this.#earlyDone.promise, ended]);
    }
  }

  /**
   * The compressed layer. If this layer was compressed by an earlier push, it is compressed only when it is read.
   *
   * Throws a CommandFailure if the layer has another digest than `diffId`.
   */
  async layer(name: string, diffId: Digest, content: Content, source: string): Promise<SourceBlob> {
    const known = this.#jobs.has(name) ? null : this.#remembered.get(diffId, this.#variant);
    const { mediaType } = this;
    if (known !== null) {
      const open = (start: number, end: number) =>
        this.#openKnown(name, diffId, content, known.digest, source, start, end);
      return { descriptor: { mediaType, ...known }, size: known.size, open };
    }
    const made = await this.#checked(name, diffId, content, source);
    await this.#remembered.add(diffId, this.#variant, { digest: made.digest, size: made.file.length });
    return this.#blobOf(name, made);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    for (const resume of this.#waiting.splice(0)) resume();
    await Promise.allSettled(this.#jobs.values());
    for (const file of this.#files) await file[Symbol.asyncDispose]();
  }

  async *#openKnown(
    name: string,
    diffId: Digest,
    content: Content,
    digest: Digest,
    source: string,
    start: number,
    end: number,
  ): AsyncGenerator<Uint8Array> {
    const made = await this.#checked(name, diffId, content, source);
    if (made.digest !== digest) {
      await this.#remembered.forget(diffId, this.#variant);
      throw sourceFailure(
        `The layer ${diffId} was compressed to other bytes than at an earlier push. The earlier digest was forgotten.\nPush again.`,
      );
    }
    yield* partOf(made.file, 0, made.file.length, name).open(start, end);
  }

  #blobOf(name: string, { digest, file }: Made): SourceBlob {
    const { mediaType } = this;
    const size = file.length;
    return { descriptor: { mediaType, digest, size }, ...partOf(file, 0, size, name) };
  }

  async #checked(name: string, diffId: Digest, content: Content, source: string): Promise<Made> {
    const made = await this.#job(name, content);
    if (made.diffId !== diffId) throw wrongDigest(diffId, source);
    return made;
  }

  #job(name: string, content: Content): Promise<Made> {
    let job = this.#jobs.get(name);
    if (job === undefined) {
      job = this.#compress(content);
      this.#jobs.set(name, job);
    }
    return job;
  }

  async #compress(content: Content): Promise<Made> {
    await this.#enter();
    try {
      const file = await TemporaryFile.create(this.#options.env);
      this.#files.add(file);
      const plain = createHash('sha256');
      const compressed = createHash('sha256');
      const input = this.#hashed(content, (piece) => plain.update(piece));
      for await (const piece of compress(input, this.#options.compression)) {
        compressed.update(piece);
        await file.append(piece);
      }
      return {
        diffId: digestFrom('sha256', plain.digest()),
        digest: digestFrom('sha256', compressed.digest()),
        file,
      };
    } finally {
      this.#leave();
    }
  }

  async *#hashed(content: Content, update: (piece: Uint8Array) => void): AsyncGenerator<Uint8Array> {
    for await (const piece of content.open(0, content.size)) {
      this.#options.signal?.throwIfAborted();
      if (this.#isClosed) throw new Error('the source was closed');
      update(piece);
      yield piece;
    }
  }

  async #enter(): Promise<void> {
    if (this.#running < LAYERS_AT_ONCE) this.#running += 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#running -= 1;
    else next();
  }
}

export type LayerForm = 'tar' | 'gzip' | 'zstd' | 'other';

const MAGIC: readonly [form: LayerForm, bytes: readonly number[]][] = [
  ['gzip', [0x1f, 0x8b]],
  ['zstd', [0x28, 0xb5, 0x2f, 0xfd]],
  ['other', [0x42, 0x5a, 0x68]],
  ['other', [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
];

/** The compression of bytes by how they begin. `other` is bzip2 or xz. */
export function formOf(beginning: Uint8Array): LayerForm {
  const found = MAGIC.find(([, bytes]) => bytes.every((byte, at) => beginning[at] === byte));
  return found?.[0] ?? 'tar';
}

/** Reads how a content begins. */
export async function beginningOf(content: Content, length: number): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of content.open(0, Math.min(length, content.size))) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces);
}
