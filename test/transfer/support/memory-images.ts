// Images in memory, as a source of the engine, and what a registry has of them.
import assert from 'node:assert/strict';
import { createHash, randomUUID } from 'node:crypto';
import type { Source, SourceBlob, SourceManifest } from '../../../cli/transfer/source.ts';
import { parseTarget, type Target } from '../../../cli/transfer/target.ts';
import { type Digest, parseDigest } from '../../../worker/oci/digest.ts';
import { noise } from '../../clients/support/layout.ts';

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';
const CONFIG = 'application/vnd.oci.image.config.v1+json';
const LAYER = 'application/vnd.oci.image.layer.v1.tar';

export interface Image extends Source {
  /** Of every layer and config. */
  readonly contents: ReadonlyMap<Digest, Buffer>;
  readonly digest: Digest;
  readonly bytes: number;
}

/** An image with layers of these sizes in bytes; with several platforms, an index of such images. */
export function imageOf(layerBytes: readonly number[], platforms = 1): Image {
  const contents = new Map<Digest, Buffer>();
  const manifests: SourceManifest[] = [];
  for (let platform = 0; platform < platforms; platform += 1) {
    const layers = layerBytes.map((bytes) => keep(contents, LAYER, noise(bytes)));
    const config = keep(contents, CONFIG, Buffer.from(JSON.stringify({ os: 'linux', id: randomUUID() })));
    manifests.push(manifestOf(MANIFEST, { config, layers }));
  }
  if (platforms > 1)
    manifests.push(manifestOf(INDEX, { manifests: manifests.map(({ descriptor }) => descriptor) }));
  return sourceOf(contents, manifests);
}

function sourceOf(contents: Map<Digest, Buffer>, manifests: SourceManifest[]): Image {
  const digest = manifests.at(-1)?.descriptor.digest;
  assert(digest !== undefined);
  return {
    name: 'an image in memory',
    contents,
    digest,
    bytes: [...contents.values()].reduce((sum, { length }) => sum + length, 0),
    async *blobs() {
      for (const [digest, bytes] of contents) yield blobOf(digest, () => bytes);
    },
    manifests: async () => manifests,
    async [Symbol.asyncDispose]() {},
  };
}

/** `bytes` is called for each piece, so that a test can change them while they are read. */
export function blobOf(digest: Digest, bytes: () => Buffer): SourceBlob {
  const size = bytes().length;
  return {
    descriptor: { mediaType: LAYER, digest, size },
    size,
    async *open(start, end) {
      for (let at = start; at < end; at += PIECE_BYTES)
        yield bytes().subarray(at, Math.min(end, at + PIECE_BYTES));
    },
  };
}

const PIECE_BYTES = 64 * 1024;

function keep(contents: Map<Digest, Buffer>, mediaType: string, bytes: Buffer) {
  const digest = digestOf(bytes);
  contents.set(digest, bytes);
  return { mediaType, digest, size: bytes.length };
}

function manifestOf(mediaType: string, fields: object): SourceManifest {
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, ...fields }));
  return { descriptor: { mediaType, digest: digestOf(bytes), size: bytes.length }, bytes };
}

export function digestOf(bytes: Uint8Array): Digest {
  return parseDigest(`sha256:${createHash('sha256').update(bytes).digest('hex')}`);
}

let repositories = 0;

/** A tag in a new repository. */
export function newTarget(host: string): Target {
  repositories += 1;
  return parseTarget(`${host}/team/app-${process.pid}-${repositories}:v1`);
}

/** Asserts that the registry serves the whole image under its tag, byte for byte. */
export async function assertPushed(image: Image, url: string, { repository, tag }: Target): Promise<void> {
  const manifest = await fetch(`${url}/v2/${repository}/manifests/${tag}`, {
    headers: { Accept: `${MANIFEST}, ${INDEX}` },
  });
  assert.equal(digestOf(Buffer.from(await manifest.arrayBuffer())), image.digest);
  for (const digest of image.contents.keys()) {
    const blob = await fetch(`${url}/v2/${repository}/blobs/${digest}`);
    assert.equal(digestOf(Buffer.from(await blob.arrayBuffer())), digest);
  }
}
