/** What the clients push: blobs whose bytes follow from the seed and a number, so that they need not be kept, and manifests. */
import { createCipheriv, createHash } from 'node:crypto';
import { digest as digestOf, mediaTypes } from '../support/fixtures.ts';
import type { Random } from './random.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const POOL_BYTES = 20 * MiB;
/** More than one part on R2 (7 MiB). */
const LARGE_BYTES = [7 * MiB, 8 * MiB, 12 * MiB, 15 * MiB];

export interface Blob {
  digest: string;
  /** In bytes. */
  size: number;
  bytes(): Buffer;
}

export interface Manifest {
  digest: string;
  mediaType: string;
  bytes: Buffer;
  /** Digests that have to be there. */
  blobs: string[];
  manifests: string[];
  subject: string | null;
  artifactType: string | null;
}

export class Contents {
  readonly #pool: Buffer;
  #made = 0;

  constructor(seed: number) {
    const key = createHash('sha256').update(`soak ${seed}`).digest();
    const cipher = createCipheriv('aes-256-ctr', key, Buffer.alloc(16));
    this.#pool = cipher.update(Buffer.alloc(POOL_BYTES));
  }

  /** A blob that is not there yet; below 30 bytes it may be. */
  blob(random: Random, size = sizeOf(random)): Blob {
    const head = Buffer.from(`${random.hex(16)} ${this.#made++} `);
    const offset = random.below(POOL_BYTES - size - 1);
    const bytes = () => Buffer.concat([head, this.#pool.subarray(offset, offset + size)]).subarray(0, size);
    return { digest: digestOf(bytes()), size, bytes };
  }
}

/** Mostly small, sometimes some MiB, now and then more than one part. */
function sizeOf(random: Random): number {
  return random.weighted([
    [2, () => 0],
    [45, () => random.between(1, 2 * KiB)],
    [33, () => random.between(2 * KiB, 100 * KiB)],
    [16, () => random.between(100 * KiB, MiB)],
    [3.6, () => random.between(MiB, 4 * MiB)],
    [0.4, () => random.pick(LARGE_BYTES) + random.between(-1, 1000)],
  ])();
}

export function imageOf(
  config: Blob,
  layers: Blob[],
  about: { subject?: Manifest | null; artifactType?: string | null } = {},
): Manifest {
  const mediaType = mediaTypes.imageManifest;
  const { subject = null, artifactType = null } = about;
  const content = {
    schemaVersion: 2,
    mediaType,
    ...(artifactType === null ? {} : { artifactType }),
    config: { mediaType: mediaTypes.imageConfig, digest: config.digest, size: config.size },
    layers: layers.map(({ digest, size }) => ({ mediaType: mediaTypes.layer, digest, size })),
    ...(subject === null ? {} : { subject: descriptorOf(subject) }),
  };
  const blobs = [...new Set([config, ...layers].map(({ digest }) => digest))];
  const shown = artifactType ?? (subject === null ? null : mediaTypes.imageConfig);
  return manifestOf(mediaType, content, {
    blobs,
    manifests: [],
    subject: subject?.digest ?? null,
    artifactType: shown,
  });
}

export function indexOf(manifests: Manifest[], id: string): Manifest {
  const mediaType = mediaTypes.imageIndex;
  const content = {
    schemaVersion: 2,
    mediaType,
    manifests: manifests.map(descriptorOf),
    annotations: { 'org.example.soak': id },
  };
  return manifestOf(mediaType, content, {
    blobs: [],
    manifests: [...new Set(manifests.map(({ digest }) => digest))],
    subject: null,
    artifactType: null,
  });
}

function descriptorOf({ mediaType, digest, bytes }: Manifest) {
  return { mediaType, digest, size: bytes.length };
}

function manifestOf(
  mediaType: string,
  content: unknown,
  about: Pick<Manifest, 'blobs' | 'manifests' | 'subject' | 'artifactType'>,
): Manifest {
  const bytes = Buffer.from(JSON.stringify(content));
  return { mediaType, bytes, digest: digestOf(bytes), ...about };
}
