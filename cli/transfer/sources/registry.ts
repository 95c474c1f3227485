// An image in a registry, for copies from one registry to another.
import { MANIFEST_MAX_BYTES } from '../../../worker/oci/limits.ts';
import { Backoff } from '../backoff.ts';
import { ConnectionLost } from '../http.ts';
import { pull, type Registry, RegistryError } from '../registry.ts';
import type { Source, SourceBlob, SourceDescriptor, SourceOptions } from '../source.ts';
import type { Target } from '../target.ts';
import { verifiedBlob } from './content.ts';
import { type Entry, parsePlatform } from './descriptor.ts';
import { sourceFailure } from './failure.ts';
import { digestOfManifest, type Graph, readGraph } from './graph.ts';

/** Attempts without a byte of progress. */
const ATTEMPTS_MAX = 10;

/** The image keeps its digests. Problems are thrown by `blobs` and `manifests`. */
export function registrySource(registry: Registry, target: Target, options: SourceOptions): Source {
  const { host, repository, tag, digest } = target;
  const name = `${host}/${repository}${digest === null ? `:${tag ?? 'latest'}` : `@${digest}`}`;
  const readers: BlobReader[] = [];
  const blobOf = (descriptor: SourceDescriptor): SourceBlob => {
    const reader = new BlobReader(registry, repository, descriptor);
    readers.push(reader);
    return verifiedBlob(descriptor, reader, name);
  };
  let graph: Promise<Graph> | null = null;
  const read = () => {
    graph ??= readImage(registry, target, name, blobOf, options);
    return graph;
  };
  return {
    name,
    async *blobs() {
      yield* (await read()).blobs;
    },
    async manifests() {
      return [...(await read()).manifests];
    },
    async [Symbol.asyncDispose]() {
      for (const reader of readers) reader.close();
    },
  };
}

async function readImage(
  registry: Registry,
  { repository, tag, digest }: Target,
  name: string,
  blobOf: (descriptor: SourceDescriptor) => SourceBlob,
  { platform, report }: SourceOptions,
): Promise<Graph> {
  const manifest = async (reference: string) => {
    try {
      return await registry.manifest(repository, reference);
    } catch (error) {
      if (error instanceof RegistryError && error.status === 404) return null;
      throw error;
    }
  };
  const found = await manifest(digest ?? tag ?? 'latest');
  if (found === null) {
    throw sourceFailure(`${name} does not exist.\nCheck the name, the tag, and that you may pull it.`);
  }
  const root: Entry = {
    mediaType: found.mediaType,
    digest: digest ?? digestOfManifest(found.bytes),
    size: found.bytes.length,
    platform: null,
    annotations: {},
  };
  const store = {
    name,
    manifest: async (descriptor: SourceDescriptor) =>
      descriptor.digest === root.digest ? found.bytes : ((await manifest(descriptor.digest))?.bytes ?? null),
    // Another blob that is missing is noticed when it is read: a request for each would cost more.
    blob: async (descriptor: SourceDescriptor, canBeMissing: boolean) => {
      const { digest, size } = descriptor;
      const isThere = !canBeMissing || (await registry.hasBlob(repository, digest, size, pull(repository)));
      return isThere ? blobOf(descriptor) : null;
    },
  };
  if (found.bytes.length > MANIFEST_MAX_BYTES) {
    throw sourceFailure(
      `The manifest of ${name} has more than ${MANIFEST_MAX_BYTES} bytes.\nIt cannot be copied.`,
    );
  }
  const wanted = platform === undefined ? null : parsePlatform(platform);
  return readGraph(store, root, { platform: wanted, takesOnlyPresent: false, report });
}

/** A blob that is read in parts, one after the other, by one request. Lost connections are opened again where they ended. */
class BlobReader {
  readonly size: number;
  readonly #registry: Registry;
  readonly #repository: string;
  readonly #descriptor: SourceDescriptor;
  /** What is open between two parts. */
  #open: OpenBlob | null = null;

  constructor(registry: Registry, repository: string, descriptor: SourceDescriptor) {
    this.#registry = registry;
    this.#repository = repository;
    this.#descriptor = descriptor;
    this.size = descriptor.size;
  }

  async *open(start: number, end: number): AsyncGenerator<Uint8Array> {
    const backoff = new Backoff(() => ATTEMPTS_MAX);
    for (let at = start; at < end; ) {
      const blob = await this.#at(at);
      let piece: Uint8Array | null;
      try {
        piece = await blob.read(end - at);
      } catch (error) {
        blob.close();
        const { code, message } = error as NodeJS.ErrnoException;
        await this.#registry.pause(backoff, new ConnectionLost(code ?? message, { cause: error }), null);
        continue;
      }
      backoff.reset();
      at += piece.length;
      if (at < this.size) this.#keep(blob);
      yield piece;
    }
  }

  close(): void {
    this.#open?.close();
    this.#open = null;
  }

  /** The open blob if it stands there, else a new request. */
  async #at(position: number): Promise<OpenBlob> {
    const kept = this.#open;
    this.#open = null;
    if (kept?.position === position) return kept;
    kept?.close();
    const { body } = await this.#registry.blob(this.#repository, this.#descriptor.digest, position);
    return new OpenBlob(body, position);
  }

  #keep(blob: OpenBlob): void {
    this.#open?.close();
    this.#open = blob;
  }
}

/** The body of an answer, read in pieces of a size that the reader chooses. */
class OpenBlob {
  position: number;
  readonly #body: AsyncIterator<Uint8Array> & { return?: unknown };
  readonly #stream: { destroy(): unknown };
  #rest: Uint8Array = new Uint8Array();

  constructor(body: AsyncIterable<Uint8Array> & { destroy(): unknown }, position: number) {
    this.position = position;
    this.#stream = body;
    this.#body = body[Symbol.asyncIterator]();
  }

  /** At least one byte. Throws if the connection ends. */
  async read(maxBytes: number): Promise<Uint8Array> {
    if (this.#rest.length === 0) {
      const next = await this.#body.next();
      if (next.done === true) throw new Error('the answer ended too early');
      this.#rest = next.value;
    }
    const piece = this.#rest.subarray(0, maxBytes);
    this.#rest = this.#rest.subarray(piece.length);
    this.position += piece.length;
    return piece;
  }

  close(): void {
    this.#stream.destroy();
  }
}
