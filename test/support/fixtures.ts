// Content that tests push: blobs, image manifests, indexes and artifacts, all fresh on every call so
// that no test can lean on what another one left behind. A fixture carries its own bytes and digest.

import { createHash, randomBytes } from 'node:crypto';

export type Algorithm = 'sha256' | 'sha512';

export interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
  artifactType?: string;
  annotations?: Record<string, string>;
  [field: string]: unknown;
}

export interface Manifest {
  mediaType: string;
  /** Exactly what is to be sent, and what must come back. */
  bytes: Buffer;
  /** The sha256 digest of `bytes`. */
  digest: string;
  descriptor: Descriptor;
  /** The blobs that have to be in the repository before the manifest. */
  blobs: Buffer[];
}

export const mediaTypes = {
  imageManifest: 'application/vnd.oci.image.manifest.v1+json',
  imageIndex: 'application/vnd.oci.image.index.v1+json',
  imageConfig: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar+gzip',
  empty: 'application/vnd.oci.empty.v1+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerManifestList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  dockerLayer: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
} as const;

/** Random bytes, so that no registry has them already. */
export function blob(size = 64): Buffer {
  return randomBytes(size);
}

export function digest(bytes: Uint8Array, algorithm: Algorithm = 'sha256'): string {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}

/** A digest of bytes that were never pushed. */
export function unknownDigest(algorithm: Algorithm = 'sha256'): string {
  return digest(blob(), algorithm);
}

export function descriptor(bytes: Uint8Array, mediaType: string): Descriptor {
  return { mediaType, digest: digest(bytes), size: bytes.byteLength };
}

/** A name that has not been used before: `prefix/0123456789ab`. */
export function repositoryName(prefix = 'test'): string {
  return `${prefix}/${randomBytes(6).toString('hex')}`;
}

/** A tag that has not been used before. */
export function tagName(prefix = 'tag'): string {
  return `${prefix}-${randomBytes(4).toString('hex')}`;
}

export interface ImageManifestOptions {
  /** How many layers, or their bytes. */
  layers?: number | Buffer[];
  config?: Buffer;
  configMediaType?: string;
  layerMediaType?: string;
  mediaType?: string;
  subject?: Descriptor;
  artifactType?: string;
  annotations?: Record<string, string>;
  /** Fields that overrule those above; `undefined` leaves a field out. */
  fields?: Record<string, unknown>;
}

/** An image manifest with a random config and random layers. */
export function imageManifest(options: ImageManifestOptions = {}): Manifest {
  const mediaType = options.mediaType ?? mediaTypes.imageManifest;
  const config = options.config ?? Buffer.from(JSON.stringify({ os: 'linux', id: tagName('config') }));
  const wanted = options.layers ?? 1;
  const layers = typeof wanted === 'number' ? Array.from({ length: wanted }, () => blob()) : wanted;
  const content = {
    schemaVersion: 2,
    mediaType,
    artifactType: options.artifactType,
    config: descriptor(config, options.configMediaType ?? mediaTypes.imageConfig),
    layers: layers.map((layer) => descriptor(layer, options.layerMediaType ?? mediaTypes.layer)),
    subject: options.subject,
    annotations: options.annotations,
    ...options.fields,
  };
  return manifestOf(mediaType, content, [config, ...layers]);
}

export interface ArtifactOptions {
  subject?: Descriptor;
  artifactType?: string;
  annotations?: Record<string, string>;
}

/** An artifact, such as a signature: an image manifest with the empty config and one random layer. */
export function artifact(options: ArtifactOptions = {}): Manifest {
  return imageManifest({
    config: Buffer.from('{}'),
    configMediaType: mediaTypes.empty,
    layerMediaType: 'application/vnd.example.payload',
    artifactType: options.artifactType ?? 'application/vnd.example.artifact.v1',
    ...(options.subject && { subject: options.subject }),
    ...(options.annotations && { annotations: options.annotations }),
  });
}

export interface ImageIndexOptions {
  mediaType?: string;
  subject?: Descriptor;
  artifactType?: string;
  annotations?: Record<string, string>;
  fields?: Record<string, unknown>;
}

/** An index of the given manifests; they have to be in the repository before it. */
export function imageIndex(manifests: Manifest[], options: ImageIndexOptions = {}): Manifest {
  const mediaType = options.mediaType ?? mediaTypes.imageIndex;
  const content = {
    schemaVersion: 2,
    mediaType,
    artifactType: options.artifactType,
    manifests: manifests.map((manifest) => manifest.descriptor),
    subject: options.subject,
    // Nothing tells one index of nothing from another, so each carries a name of its own.
    annotations: { 'org.example.fixture': tagName('index'), ...options.annotations },
    ...options.fields,
  };
  return manifestOf(mediaType, content, []);
}

/** Any bytes as a manifest: what a client sends is not always what a fixture would have written. */
export function manifestFrom(mediaType: string, bytes: Buffer, blobs: Buffer[] = []): Manifest {
  return { mediaType, bytes, digest: digest(bytes), descriptor: descriptor(bytes, mediaType), blobs };
}

function manifestOf(mediaType: string, content: unknown, blobs: Buffer[]): Manifest {
  return manifestFrom(mediaType, Buffer.from(JSON.stringify(content)), blobs);
}
