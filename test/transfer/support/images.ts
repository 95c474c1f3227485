// Images in archives, as docker, podman and crane save them, and what a source gives of an image.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { Source, SourceManifest } from '../../../cli/transfer/source.ts';
import { archive, entry } from './tar.ts';

export const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
export const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
export const OCI_CONFIG = 'application/vnd.oci.image.config.v1+json';
export const OCI_LAYER = 'application/vnd.oci.image.layer.v1.tar';

export interface Described {
  mediaType: string;
  digest: string;
  size: number;
}

/** The tar archive of a layer with one file. */
export function layerTar(content: Uint8Array | string, name = 'file'): Buffer {
  return archive(entry(name, content));
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

export function described(mediaType: string, bytes: Uint8Array): Described {
  return { mediaType, digest: `sha256:${sha256(bytes)}`, size: bytes.length };
}

export function configOf(layers: readonly Uint8Array[], architecture = 'amd64'): Buffer {
  const diffIds = layers.map((layer) => `sha256:${sha256(layer)}`);
  return json({ os: 'linux', architecture, rootfs: { type: 'layers', diff_ids: diffIds } });
}

/** The entries of docker save before Docker 25: a folder for each layer, the lists at the end. A repeated layer is a link. */
export function classicEntries(layers: readonly Buffer[], tags: readonly string[] = ['app:1']): Buffer[] {
  const config = configOf(layers);
  const entries: Buffer[] = [];
  const paths: string[] = [];
  for (const [at, layer] of layers.entries()) {
    const path = `${sha256(Buffer.from(`layer ${at}`))}/layer.tar`;
    const same = layers.findIndex((other) => other.equals(layer));
    entries.push(
      entry(`${path.split('/')[0]}/`, '', { type: '5' }),
      entry(`${path.split('/')[0]}/VERSION`, '1.0'),
    );
    entries.push(same < at ? entry(path, '', { type: '2', link: `../${paths[same]}` }) : entry(path, layer));
    paths.push(path);
  }
  entries.push(entry(`${sha256(config)}.json`, config));
  entries.push(
    entry('manifest.json', json([{ Config: `${sha256(config)}.json`, RepoTags: tags, Layers: paths }])),
  );
  return entries;
}

/** The entries of an OCI layout: blobs, then its files. `index` is the list in index.json. */
export function layoutEntries(blobs: readonly Uint8Array[], index: readonly object[]): Buffer[] {
  return [
    ...blobs.map((blob) => entry(`blobs/sha256/${sha256(blob)}`, blob)),
    entry('index.json', json({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: index })),
    entry('oci-layout', json({ imageLayoutVersion: '1.0.0' })),
  ];
}

/** An image of the image specification: its blobs, its manifest last. */
export function ociImage(layers: readonly Buffer[], layerType = OCI_LAYER, architecture = 'amd64') {
  const config = configOf(layers, architecture);
  const manifest = json({
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: described(OCI_CONFIG, config),
    layers: layers.map((layer) => described(layerType, layer)),
  });
  return {
    config,
    manifest,
    blobs: [config, ...layers, manifest],
    descriptor: { ...described(OCI_MANIFEST, manifest), platform: { os: 'linux', architecture } },
  };
}

export interface Given {
  name: string;
  /** By digest. */
  blobs: Map<string, Buffer>;
  manifests: SourceManifest[];
  /** The last manifest. */
  image: {
    config: Described;
    layers: (Described & { urls?: string[] })[];
    manifests?: Described[];
    mediaType: string;
  };
}

/** Reads all that a source gives, and checks each digest and size. */
export async function readSource(source: Source): Promise<Given> {
  const blobs = new Map<string, Buffer>();
  for await (const { descriptor, size, open } of source.blobs()) {
    const pieces: Uint8Array[] = [];
    for await (const piece of open(0, size)) pieces.push(Buffer.from(piece));
    const bytes = Buffer.concat(pieces);
    assert.equal(`sha256:${sha256(bytes)}`, descriptor.digest);
    assert.equal(bytes.length, descriptor.size);
    assert.equal(size, descriptor.size);
    assert(!blobs.has(descriptor.digest), 'a blob is given once');
    blobs.set(descriptor.digest, bytes);
  }
  const manifests = await source.manifests();
  for (const { descriptor, bytes } of manifests) assert.equal(descriptor.digest, `sha256:${sha256(bytes)}`);
  const image = JSON.parse(Buffer.from(manifests.at(-1)?.bytes ?? []).toString()) as Given['image'];
  return { name: source.name, blobs, manifests, image };
}
