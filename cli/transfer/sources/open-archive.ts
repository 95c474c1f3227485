// Archives of images: finds out their form, and starts to compress their layers while they arrive.
import { createReadStream, type Stats } from 'node:fs';
import { stat } from 'node:fs/promises';
import { pipeline, type Readable, type Transform } from 'node:stream';
import zlib from 'node:zlib';
import { type Digest, isDigest } from '../../../worker/oci/digest.ts';
import type { CommandFailure } from '../../failure.ts';
import type { Source, SourceOptions } from '../source.ts';
import { truncated } from '../tar.ts';
import { Spool, type SpoolOptions } from '../temporary.ts';
import { type ArchiveSource, archiveFiles } from './archive.ts';
import { changed, type ImageFile, type ImageFiles, openForReading, readAt, unreadable } from './content.ts';
import { dockerArchiveSource } from './docker-archive.ts';
import { sourceFailure } from './failure.ts';
import { beginningOf, formOf, LayerCompressor, type LayerForm } from './layers.ts';
import { layoutSource } from './layout.ts';

export interface ArchiveSettings extends SourceOptions {
  /** For messages. */
  readonly name: string;
  /** A name or a tag. Null for the only image. */
  readonly reference: string | null;
  /** See `Selection`. */
  readonly takesOnlyPresent: boolean;
  /**
   * Of the only image of the archive, where it is known before the archive: the digests of its layers without compression. Layers are
   * then given before the rest has come.
   */
  readonly diffIds?: readonly Digest[];
}

/** The smallest layer that is worth to be compressed before it is known whether it is needed. */
const EARLY_MIN_BYTES = 64 * 1024;
const TAR_MAGIC = 'ustar';
const TAR_MAGIC_OFFSET = 257;

/**
 * An archive in a file or a pipe, which may be compressed.
 *
 * Throws a CommandFailure if it cannot be read.
 */
export async function openArchiveFile(path: string, settings: ArchiveSettings): Promise<Source> {
  const found = await stat(path).catch((error) => {
    throw unreadable(path, error);
  });
  const { env } = settings;
  // A shell gives a pipe for <(docker save app).
  if (!found.isFile()) return openArchiveStream({ stream: createReadStream(path), env }, settings);
  const file = await FileSource.open(path, found);
  const form = formOf(await file.read(0, 16));
  if (form === 'tar') return openArchive(file, settings, false);
  await file[Symbol.asyncDispose]();
  const stream = uncompressed(path, form);
  const explain = (error: unknown) => badCompression(path, error);
  return openArchiveStream({ stream, env, explain }, settings);
}

/** Whether a file begins as an archive does, compressed or not. */
export async function isArchive(path: string): Promise<boolean> {
  const file = await openForReading(path);
  try {
    const beginning = await readAt(file, 0, TAR_MAGIC_OFFSET + TAR_MAGIC.length);
    return formOf(beginning) !== 'tar' || hasTarMagic(beginning);
  } finally {
    await file.close();
  }
}

/** An archive that arrives from a program. The signal ends it, also while the program writes nothing. */
export async function openArchiveStream(options: SpoolOptions, settings: ArchiveSettings): Promise<Source> {
  const { stream } = options;
  const { signal } = settings;
  const end = () => stream.destroy(signal?.reason);
  signal?.addEventListener('abort', end, { once: true });
  stream.once('close', () => signal?.removeEventListener('abort', end));
  return openArchive(await Spool.from(options), settings, true);
}

async function openArchive(
  source: ArchiveSource,
  settings: ArchiveSettings,
  isArriving: boolean,
): Promise<Source> {
  const compressor = await LayerCompressor.create(settings);
  // Of an image that was pushed before, only the layers that the registry does not have are compressed.
  const isKnown = settings.diffIds?.some((diffId) => compressor.knows(diffId)) ?? false;
  const found = (file: ImageFile) => startEarly(compressor, file, isKnown);
  const name = settings.name;
  const files = archiveFiles(source, isArriving ? { name, found } : { name });
  return new ArchivedImage(files, compressor, settings);
}

/** Knows its form when the list of its content has come, which is often at the end of an archive. */
class ArchivedImage implements Source {
  readonly name: string;
  readonly #files: ImageFiles;
  readonly #compressor: LayerCompressor;
  readonly #settings: ArchiveSettings;
  #image: Promise<Source> | null = null;

  constructor(files: ImageFiles, compressor: LayerCompressor, settings: ArchiveSettings) {
    this.name = settings.name;
    this.#files = files;
    this.#compressor = compressor;
    this.#settings = settings;
  }

  async *blobs() {
    const image = this.#open();
    const given = new Set<Digest>();
    if (this.#settings.diffIds !== undefined) {
      for await (const blob of this.#compressor.early(image)) {
        if (given.has(blob.descriptor.digest)) continue;
        given.add(blob.descriptor.digest);
        yield blob;
      }
    }
    for await (const blob of (await image).blobs()) if (!given.has(blob.descriptor.digest)) yield blob;
  }

  async manifests() {
    return (await this.#open()).manifests();
  }

  async [Symbol.asyncDispose]() {
    await this.#files[Symbol.asyncDispose]();
    await this.#compressor[Symbol.asyncDispose]();
  }

  #open(): Promise<Source> {
    this.#image ??= this.#read();
    return this.#image;
  }

  async #read(): Promise<Source> {
    const files = this.#files;
    const compressor = this.#compressor;
    if ((await files.find('index.json')) !== null) {
      return layoutSource(files, { ...this.#settings, compressor });
    }
    if ((await files.find('manifest.json')) !== null) {
      return dockerArchiveSource(files, compressor, this.#settings);
    }
    throw sourceFailure(
      `${files.name} is not the archive of an image: it has neither index.json nor manifest.json.\nUse what docker save, podman save or ctr image export wrote. docker export writes another kind of archive.`,
    );
  }
}

/** Compresses a layer that has only begun to arrive. Errors are thrown when the layer is used. */
async function startEarly(compressor: LayerCompressor, file: ImageFile, isKnown: boolean): Promise<void> {
  if (file.size < EARLY_MIN_BYTES) return;
  const digest = file.path.replace(/^blobs\/(\w+)\//, '$1:');
  if (isDigest(digest)) {
    if (!compressor.knows(digest) && (await isTar(file))) compressor.start(digest, file);
  } else if (!isKnown && file.path.endsWith('.tar')) {
    compressor.start(file.path, file);
  }
}

async function isTar(file: ImageFile): Promise<boolean> {
  try {
    return hasTarMagic(await beginningOf(file, TAR_MAGIC_OFFSET + TAR_MAGIC.length));
  } catch {
    return false;
  }
}

function hasTarMagic(beginning: Buffer): boolean {
  return beginning.toString('latin1', TAR_MAGIC_OFFSET, TAR_MAGIC_OFFSET + TAR_MAGIC.length) === TAR_MAGIC;
}

class FileSource implements ArchiveSource {
  readonly #path: string;
  readonly #file: Awaited<ReturnType<typeof openForReading>>;
  readonly #found: Stats;

  private constructor(path: string, file: Awaited<ReturnType<typeof openForReading>>, found: Stats) {
    this.#path = path;
    this.#file = file;
    this.#found = found;
  }

  static async open(path: string, found: Stats): Promise<FileSource> {
    return new FileSource(path, await openForReading(path), found);
  }

  read(position: number, length: number, into?: Buffer): Promise<Buffer> {
    return readAt(this.#file, position, length, into);
  }

  async complete(): Promise<void> {
    const { size, mtimeMs } = await this.#file.stat();
    if (size !== this.#found.size || mtimeMs !== this.#found.mtimeMs) throw changed(this.#path);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#file.close();
  }
}

function uncompressed(path: string, form: LayerForm): Readable {
  const transform = uncompressor(path, form);
  // The error of either one destroys the other. The reader gets it.
  return pipeline(createReadStream(path), transform, () => {});
}

function uncompressor(path: string, form: LayerForm): Transform {
  if (form === 'gzip') return zlib.createGunzip();
  if (form === 'zstd' && zlib.createZstdDecompress !== undefined) return zlib.createZstdDecompress();
  throw sourceFailure(
    form === 'zstd'
      ? `${path} is compressed with zstd, and Node ${process.versions.node} has no zstd.\nUncompress it first: unzstd.`
      : `${path} is compressed with bzip2 or xz.\nUncompress it first: bunzip2 or unxz.`,
  );
}

function badCompression(path: string, error: unknown): CommandFailure {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'Z_BUF_ERROR' || /unexpected end/.test(message)) return truncated(`the archive ${path}`);
  return sourceFailure(`Cannot uncompress ${path}: ${message}.\nThe file is damaged: write it again.`);
}
