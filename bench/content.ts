// The blobs and manifests to push. Every blob is new, because a registry stores known ones only once. All blobs repeat one random
// piece and differ at their end, so that a digest can continue from a shared hash and a blob costs little to make.
import { createHash, type Hash, randomBytes, randomUUID } from 'node:crypto';

export const MiB = 1024 * 1024;
export const KiB = 1024;

const PIECE = randomBytes(MiB);
const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';

export interface BenchBlob {
  readonly digest: string;
  /** In bytes. */
  readonly size: number;
  /** The bytes from an offset to the end, in pieces of up to 1 MiB. */
  pieces(from?: number, to?: number): Iterable<Uint8Array>;
}

/** A range of a blob: `to` is the offset after its last byte. */
export interface ByteSpan {
  readonly from: number;
  readonly to: number;
}

export interface BenchManifest {
  readonly mediaType: string;
  readonly digest: string;
  readonly bytes: Buffer;
}

export interface BenchImage {
  readonly tag: string;
  readonly blobs: readonly BenchBlob[];
  readonly manifest: BenchManifest;
}

const hashes = new Map<number, Hash>();

/** A new blob. Its last piece, of up to 1 MiB, begins with a UUID. */
export function freshBlob(size: number): BenchBlob {
  const lastSize = size % MiB || MiB;
  const last = Buffer.concat([Buffer.from(randomUUID()), PIECE.subarray(36, lastSize)]);
  const digest = sharedHash(size - lastSize)
    .copy()
    .update(last)
    .digest('hex');
  return {
    digest: `sha256:${digest}`,
    size,
    *pieces(from = 0, to = size) {
      for (let at = from; at < to; ) {
        const within = at % MiB;
        const source = at - within === size - lastSize ? last : PIECE;
        const piece = source.subarray(within, Math.min(MiB, within + to - at));
        yield piece;
        at += piece.length;
      }
    },
  };
}

/** A config and three layers of 20 KiB, and their manifest. */
export function freshImage(): BenchImage {
  const blobs = [freshBlob(2 * KiB), freshBlob(20 * KiB), freshBlob(20 * KiB), freshBlob(20 * KiB)];
  return { tag: `t-${randomUUID()}`, blobs, manifest: manifestOf(blobs) };
}

/** A manifest of about 1 KiB whose config is the first of the blobs. */
export function manifestOf(blobs: readonly BenchBlob[]): BenchManifest {
  const [config, ...layers] = blobs.map(({ digest, size }) => ({ digest, size }));
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST_TYPE,
      config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
      layers: layers.map((layer) => ({ mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', ...layer })),
      annotations: { 'org.example.bench': `${randomUUID()} ${'x'.repeat(200)}` },
    }),
  );
  return {
    mediaType: MANIFEST_TYPE,
    digest: `sha256:${createHash('sha256').update(bytes).digest('hex')}`,
    bytes,
  };
}

/** The hash of a number of whole pieces. */
function sharedHash(bytes: number): Hash {
  let hash = hashes.get(bytes);
  if (hash === undefined) {
    hash = createHash('sha256');
    for (let at = 0; at < bytes; at += MiB) hash.update(PIECE);
    hashes.set(bytes, hash);
  }
  return hash;
}
