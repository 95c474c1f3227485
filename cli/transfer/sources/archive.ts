// The files of an image in a tar archive, which may still be arriving. Nothing is extracted.
import { posix } from 'node:path';
import type { CommandFailure } from '../../failure.ts';
import { deferred } from '../deferred.ts';
import { readTar, type TarEntry } from '../tar.ts';
import { type ImageFile, type ImageFiles, partOf, type RandomAccess } from './content.ts';
import { sourceFailure } from './failure.ts';

/** docker save links a layer to another one that is the same. It never links twice. */
const LINKS_MAX = 8;

export interface ArchiveSource extends RandomAccess, AsyncDisposable {
  /** Waits until all bytes are here. Throws if they did not arrive, or if a file was changed. */
  complete(): Promise<void>;
}

export interface ArchiveOptions {
  /** For messages: `The archive app.tar`. */
  readonly name: string;
  /** Hears of each file when its header was read. */
  readonly found?: (file: ImageFile) => void;
}

export function archiveFiles(source: ArchiveSource, options: ArchiveOptions): ImageFiles {
  return new Archive(source, options);
}

class Archive implements ImageFiles {
  readonly name: string;
  readonly #source: ArchiveSource;
  readonly #found: NonNullable<ArchiveOptions['found']>;
  readonly #entries = new Map<string, TarEntry>();
  /** Files that are in the archive twice. */
  readonly #repeated = new Set<string>();
  readonly #scanned: Promise<void>;
  #isScanned = false;
  #isClosed = false;
  #failure: unknown = null;
  #progress = deferred<void>();

  constructor(source: ArchiveSource, { name, found = () => {} }: ArchiveOptions) {
    this.name = name;
    this.#source = source;
    this.#found = found;
    this.#scanned = this.#scan();
  }

  async find(path: string): Promise<ImageFile | null> {
    const found = await this.#entry(path);
    if (found === null) return null;
    const { entry } = found;
    if (entry.kind === 'file') return this.#contentOf(found.path, entry);
    throw sourceFailure(
      `${quoted(path)} in ${this.name} is ${entry.kind === 'sparse' ? 'a sparse file' : 'not a file'}.\nWrite the archive again${entry.kind === 'sparse' ? ', without --sparse' : ''}.`,
    );
  }

  async complete(): Promise<void> {
    await this.#scanned;
    if (this.#failure !== null) throw this.#failure;
    await this.#source.complete();
    // A file that was used and then came again: it is not known which one is meant.
    for (const path of this.#repeated) if (!hasDigestAsName(path)) throw this.#ambiguous(path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    await this.#source[Symbol.asyncDispose]();
    await this.#scanned;
  }

  /** Follows links inside of the archive. Waits until the file has come, or all files have. */
  async #entry(path: string): Promise<{ path: string; entry: TarEntry } | null> {
    let wanted = this.#inside(path, '');
    for (let links = 0; links <= LINKS_MAX; links += 1) {
      while (!this.#entries.has(wanted) && !this.#isScanned) await this.#progress.promise;
      if (this.#failure !== null) throw this.#failure;
      if (this.#repeated.has(wanted) && !hasDigestAsName(wanted)) throw this.#ambiguous(wanted);
      const entry = this.#entries.get(wanted);
      if (entry === undefined) return null;
      if (entry.kind !== 'link' && entry.kind !== 'symlink') return { path: wanted, entry };
      wanted = this.#inside(entry.target, entry.kind === 'link' ? '' : posix.dirname(wanted));
    }
    throw sourceFailure(
      `${quoted(path)} in ${this.name} is a link to a link, more than ${LINKS_MAX} times.\nThe archive is damaged or was made to harm: write it again from the image.`,
    );
  }

  #contentOf(path: string, { offset, size }: TarEntry): ImageFile {
    const part = partOf(this.#source, offset, size, `${quoted(path)} in ${this.name}`);
    return { path, ...part };
  }

  async #scan(): Promise<void> {
    try {
      for await (const entry of readTar(this.#source, this.name)) {
        if (this.#isClosed) break;
        this.#take(entry);
      }
    } catch (error) {
      this.#failure = error;
    }
    this.#isScanned = true;
    this.#advance();
  }

  #take(entry: TarEntry): void {
    const path = this.#inside(entry.path, '');
    if (entry.kind === 'other') return;
    if (this.#entries.has(path)) {
      this.#repeated.add(path);
      return;
    }
    this.#entries.set(path, entry);
    if (entry.kind === 'file') this.#found(this.#contentOf(path, entry));
    this.#advance();
  }

  #advance(): void {
    this.#progress.resolve();
    this.#progress = deferred();
  }

  /** The path from the root of the archive. Throws a CommandFailure for one that leaves the archive. */
  #inside(path: string, folder: string): string {
    const normal = posix.normalize(posix.join(folder, path));
    if (!path.startsWith('/') && normal !== '..' && !normal.startsWith('../')) return normal;
    throw sourceFailure(
      `${this.name} has the path ${quoted(path)}, which leads out of the archive. Nothing was written.\nThe archive was not made by docker save, or was made to harm: write it again from the image.`,
    );
  }

  #ambiguous(path: string): CommandFailure {
    return sourceFailure(
      `${this.name} has the file ${quoted(path)} twice.\nIt is not known which one is meant: write the archive again, to a new file.`,
    );
  }
}

/** Both files must then have the same bytes, because their digest is checked. */
function hasDigestAsName(path: string): boolean {
  return path.startsWith('blobs/');
}

function quoted(path: string): string {
  return JSON.stringify(path.slice(0, 200));
}
