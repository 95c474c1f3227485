/**
 * Where `pull` and `export` write an image: an OCI layout, in a folder or in a tar archive. An archive of one image also has the
 * manifest.json of `docker save`, which docker before version 25 needs. Image spec, "Image Layout".
 */
import { createHash, type Hash, randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { MEDIA_TYPES } from '../../worker/oci/descriptor.ts';
import { algorithmOf, encodedOf } from '../../worker/oci/digest.ts';
import { CommandFailure, EXIT } from '../failure.ts';
import { type DownloadOptions, download } from './download.ts';
import type { Outcome } from './events.ts';
import { makeFolder } from './make-folder.ts';
import type { SourceBlob, SourceDescriptor, SourceManifest } from './source.ts';
import { TarWriter } from './tar-writer.ts';

const READ_BYTES = 256 * 1024;
const REF_NAME = 'org.opencontainers.image.ref.name';
const CONTAINERD_NAME = 'io.containerd.image.name';
const LAYOUT = JSON.stringify({ imageLayoutVersion: '1.0.0' });

/** How the image is called. */
export interface ImageName {
  /** `HOST/REPOSITORY:TAG`. */
  readonly full: string;
  readonly tag: string;
}

/** A layer that the registry does not have, as the base layers of Windows. Clients fetch it from its publisher. */
export interface AbsentLayer {
  readonly digest: string;
  readonly url: string;
}

export interface Destination extends AsyncDisposable {
  readonly name: string;
  /** Blobs that can be written at once. */
  readonly jobs: number;
  /** Throws a CommandFailure if it cannot hold the image. */
  check(manifests: readonly SourceManifest[], absent: readonly AbsentLayer[]): void;
  /** Throws a CommandFailure if the bytes do not have their digest. */
  put(blob: SourceBlob, options: PutOptions): Promise<Outcome>;
  /** Writes the manifests, the last of which is the image. Nothing is there under its name before. */
  finish(manifests: readonly SourceManifest[], image: ImageName): Promise<void>;
}

interface PutOptions extends DownloadOptions {
  /** Bytes begin to move at this offset. */
  started(offset: number): void;
  /** The bytes up to this offset are written. */
  moved(offset: number): void;
}

/**
 * `oci:PATH`, a tar archive if PATH ends in `.tar` and else a folder; `docker-archive:PATH`.
 *
 * Throws a CommandFailure for any other text.
 */
export function openDestination(text: string): Destination {
  const [, scheme, path] = /^(oci|docker-archive):(.+)$/s.exec(text) ?? [];
  if (path === undefined) {
    throw new CommandFailure(
      `${JSON.stringify(text)} does not say where to write the image.\nUse oci:FOLDER, oci:FILE.tar or docker-archive:FILE.tar.`,
      EXIT.usage,
    );
  }
  if (scheme === 'docker-archive') return new Archive(path, true);
  return path.endsWith('.tar') ? new Archive(path, false) : new Folder(path);
}

class Folder implements Destination {
  readonly name: string;
  readonly jobs = 4;
  readonly #path: string;

  constructor(path: string) {
    this.name = `oci:${path}`;
    this.#path = path;
  }

  check(): void {}

  async put(blob: SourceBlob, options: PutOptions): Promise<Outcome> {
    const path = join(this.#path, blobPath(blob.descriptor));
    await writing(path, () => makeFolder(dirname(path)));
    if ((await prefixOf(path, blob.descriptor)).isComplete) return 'present';
    const partial = `${path}.partial`;
    try {
      await this.#fill(partial, blob, options);
    } catch (error) {
      // What was read before a lost connection or an interruption is used by the next run.
      const isUseless = error instanceof CommandFailure && error.exitCode === EXIT.failed;
      if (isUseless) await rm(partial, { force: true });
      throw error;
    }
    await writing(path, () => rename(partial, path)).catch(async (error) => {
      // Another pull to this folder wrote the same file, and was first.
      if (!(await prefixOf(path, blob.descriptor)).isComplete) throw error;
    });
    return 'received';
  }

  async #fill(partial: string, blob: SourceBlob, options: PutOptions): Promise<void> {
    const { size, hash, isComplete } = await prefixOf(partial, blob.descriptor);
    if (isComplete) return;
    // Not emptied: another pull to this folder may write the same bytes to it.
    const file = await writing(partial, () => open(partial, constants.O_WRONLY | constants.O_CREAT, 0o644));
    try {
      options.started(size);
      let at = size;
      for await (const piece of download(blob, size, hash, options)) {
        await writing(partial, () => writeAt(file, piece, at));
        at += piece.length;
        options.moved(at);
      }
      await writing(partial, () => file.truncate(blob.descriptor.size));
      await writing(partial, () => file.datasync());
    } finally {
      await file.close();
    }
  }

  async finish(manifests: readonly SourceManifest[], image: ImageName): Promise<void> {
    for (const { descriptor, bytes } of manifests) {
      const path = join(this.#path, blobPath(descriptor));
      await writing(path, () => makeFolder(dirname(path)));
      await replace(path, bytes);
    }
    await replace(join(this.#path, 'oci-layout'), Buffer.from(LAYOUT));
    const others = (await this.#entries()).filter(({ annotations }) => !isNamed(annotations, image));
    await replace(join(this.#path, 'index.json'), indexOf([...others, entryOf(manifests, image)]));
  }

  /** Other images of the layout stay in it. */
  async #entries(): Promise<Entry[]> {
    const path = join(this.#path, 'index.json');
    let text: string;
    try {
      text = await readFile(path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw unwritable(path, error);
    }
    try {
      const { manifests } = JSON.parse(text) as { manifests: Entry[] };
      if (Array.isArray(manifests)) return manifests;
    } catch {
      // Not JSON.
    }
    throw new CommandFailure(
      `${path} is not the index of an OCI layout, and it was not changed.\nWrite to another folder.`,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

class Archive implements Destination {
  readonly name: string;
  readonly jobs = 1;
  readonly #path: string;
  readonly #partial: string;
  readonly #isForDocker: boolean;
  #isWhole = true;
  #file: FileHandle | null = null;
  #tar: TarWriter | null = null;

  constructor(path: string, isForDocker: boolean) {
    this.name = `${isForDocker ? 'docker-archive' : 'oci'}:${path}`;
    this.#path = path;
    this.#partial = `${path}.${randomUUID().slice(0, 8)}.partial`;
    this.#isForDocker = isForDocker;
  }

  check(manifests: readonly SourceManifest[], [absent]: readonly AbsentLayer[]): void {
    this.#isWhole = absent === undefined;
    if (!this.#isForDocker) return;
    if (!isImage(manifests.at(-1))) {
      throw new CommandFailure(
        'An archive for docker holds one image, and this is an index of several.\nChoose one with --platform, or write oci:FILE.tar.',
      );
    }
    if (absent === undefined) return;
    throw new CommandFailure(
      `The layer ${absent.digest} is not in the registry, and an archive for docker needs every layer.\nWrite oci:FILE.tar, which leaves it out, or push the image again with this layer. Its publisher has it at ${absent.url}`,
    );
  }

  async put(blob: SourceBlob, options: PutOptions): Promise<Outcome> {
    const { descriptor } = blob;
    const tar = await this.#open();
    options.started(0);
    const pieces = async function* () {
      let at = 0;
      for await (const piece of download(blob, 0, createHash(algorithmOf(descriptor.digest)), options)) {
        yield piece;
        at += piece.length;
        options.moved(at);
      }
    };
    await writing(this.#partial, () => tar.add(blobPath(descriptor), descriptor.size, pieces()));
    return 'received';
  }

  async finish(manifests: readonly SourceManifest[], image: ImageName): Promise<void> {
    const docker = this.#isWhole ? dockerManifest(manifests, image) : null;
    const tar = await this.#open();
    const files: [string, Uint8Array][] = manifests.map(({ descriptor, bytes }) => [
      blobPath(descriptor),
      bytes,
    ]);
    files.push(['index.json', indexOf([entryOf(manifests, image)])]);
    if (docker !== null) files.push(['manifest.json', docker]);
    files.push(['oci-layout', Buffer.from(LAYOUT)]);
    await writing(this.#partial, async () => {
      for (const [name, bytes] of files) await tar.add(name, bytes.length, one(bytes));
      await tar.end();
      await this.#file?.datasync();
      await rename(this.#partial, this.#path);
    });
  }

  async #open(): Promise<TarWriter> {
    this.#file ??= await writing(this.#path, () => open(this.#partial, 'wx', 0o644));
    this.#tar ??= new TarWriter(this.#file);
    return this.#tar;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file?.close();
    await rm(this.#partial, { force: true });
  }
}

interface Entry {
  annotations?: Record<string, string>;
}

function entryOf(manifests: readonly SourceManifest[], { full, tag }: ImageName): Entry {
  const image = manifests.at(-1)?.descriptor;
  return { ...image, annotations: { [CONTAINERD_NAME]: full, [REF_NAME]: tag } };
}

function isNamed(annotations: Record<string, string> | undefined, { full, tag }: ImageName): boolean {
  const name = annotations?.[CONTAINERD_NAME];
  return name === undefined ? annotations?.[REF_NAME] === tag : name === full;
}

function indexOf(manifests: readonly Entry[]): Buffer {
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.imageIndex, manifests }));
}

/** Null if the image is an index, or no image. */
function dockerManifest(manifests: readonly SourceManifest[], { full }: ImageName): Buffer | null {
  const image = manifests.at(-1);
  if (!isImage(image)) return null;
  const { config, layers } = JSON.parse(Buffer.from(image.bytes).toString()) as {
    config: SourceDescriptor;
    layers: SourceDescriptor[];
  };
  const entry = { Config: blobPath(config), RepoTags: [full], Layers: layers.map(blobPath) };
  return Buffer.from(JSON.stringify([entry]));
}

function isImage(manifest: SourceManifest | undefined): manifest is SourceManifest {
  const types: readonly string[] = [MEDIA_TYPES.imageManifest, MEDIA_TYPES.dockerManifest];
  return manifest !== undefined && types.includes(manifest.descriptor.mediaType);
}

function blobPath({ digest }: SourceDescriptor): string {
  return `blobs/${digest.replace(':', '/')}`;
}

/** How much of a blob a file has, and its hash. A file that is too long, or whole and wrong, counts as empty. */
async function prefixOf(
  path: string,
  { digest, size }: SourceDescriptor,
): Promise<{ size: number; hash: Hash; isComplete: boolean }> {
  const fresh = () => ({ size: 0, hash: createHash(algorithmOf(digest)), isComplete: false });
  const found = await stat(path).catch(() => null);
  if (found === null || !found.isFile() || found.size > size) return fresh();
  const { hash } = fresh();
  let read = 0;
  const file = await writing(path, () => open(path, 'r'));
  try {
    const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
    while (true) {
      const { bytesRead } = await file.read(buffer, 0, READ_BYTES, read);
      if (bytesRead === 0) break;
      hash.update(buffer.subarray(0, bytesRead));
      read += bytesRead;
    }
  } finally {
    await file.close();
  }
  if (read !== size) return { size: read, hash, isComplete: false };
  return hash.digest('hex') === encodedOf(digest) ? { size: read, hash, isComplete: true } : fresh();
}

/** Writes a small file atomically. */
async function replace(path: string, bytes: Uint8Array): Promise<void> {
  const temporary = `${path}.${randomUUID().slice(0, 8)}.partial`;
  await writing(path, async () => {
    const file = await open(temporary, 'wx', 0o644);
    try {
      await file.writeFile(bytes);
      await file.datasync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  });
}

async function writeAt(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < bytes.length; )
    at += (await file.write(bytes, at, bytes.length - at, position + at)).bytesWritten;
}

async function* one(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** Turns errors of the file system into sentences. */
async function writing<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const isOfSystem = error instanceof Error && 'syscall' in error && 'code' in error;
    throw isOfSystem ? unwritable(path, error) : error;
  }
}

function unwritable(path: string, error: unknown): CommandFailure {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new CommandFailure(
      `The disk is full: ${path} cannot be written.
Free space, or write to another disk.`,
    );
  return new CommandFailure(`Cannot write ${path}: ${code}.
Check the path and its permissions.`);
}
