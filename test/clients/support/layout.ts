// Writes OCI image layouts of any size without any other program, and reads back those that clients wrote,
// hashing every byte: two layouts with the same contents hold the same manifests and blobs, byte for byte.
import assert from 'node:assert/strict';
import { createCipheriv, createHash, randomBytes } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip, gzipSync } from 'node:zlib';

export interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
  platform?: { os: string; architecture: string };
}

export interface Layout {
  path: string;
  /** The manifest, or the index when there are several platforms. */
  root: Descriptor;
  manifests: readonly Descriptor[];
  /** The files inside the first manifest's layers, by the name in the layer. */
  files: ReadonlyMap<string, Uint8Array>;
}

interface Node {
  config?: Descriptor;
  layers?: Descriptor[];
  manifests?: Descriptor[];
}

const INDEX = 'application/vnd.oci.image.index.v1+json';
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const CONFIG = 'application/vnd.oci.image.config.v1+json';
const LAYER = 'application/vnd.oci.image.layer.v1.tar+gzip';
const PIECE = Buffer.alloc(1 << 20);

/** A layout whose one tag, `latest`, is a manifest, or with several architectures an index. Its bytes are new each time. */
export async function writeLayout(
  path: string,
  { architectures = ['amd64'], layerBytes = [50_000, 1_000] } = {},
): Promise<Layout> {
  await mkdir(join(path, 'blobs', 'sha256'), { recursive: true });
  const files = new Map<string, Uint8Array>();
  const manifests: Descriptor[] = [];
  for (const architecture of architectures) {
    const layers: Descriptor[] = [];
    const diffIds: string[] = [];
    for (const [index, bytes] of layerBytes.entries()) {
      const content = noise(bytes);
      const tar = tarball(`file-${index}`, content);
      if (architecture === architectures[0]) files.set(`file-${index}`, content);
      diffIds.push(digestOf(tar));
      layers.push(await blob(path, LAYER, gzipSync(tar, { level: 1 })));
    }
    manifests.push(await writeManifest(path, architecture, layers, diffIds));
  }
  const [first] = manifests;
  assert(first, 'a layout needs an architecture');
  const root =
    manifests.length === 1
      ? first
      : await blob(path, INDEX, json({ schemaVersion: 2, mediaType: INDEX, manifests }));
  await writeIndex(path, root);
  return { path, root, manifests, files };
}

/** A layout of one manifest with one layer, of any size. The layer is in the format of gzip, but costs no time to compress. */
export async function writeLargeLayout(path: string, fileBytes: number): Promise<Layout> {
  await mkdir(join(path, 'blobs', 'sha256'), { recursive: true });
  const { before, after } = tarAround('file', fileBytes);
  const tar = createHash('sha256');
  const hashed = (piece: Buffer) => {
    tar.update(piece);
    return piece;
  };
  const pieces = function* () {
    yield hashed(before);
    for (const piece of noisePieces(fileBytes)) yield hashed(piece);
    yield hashed(after);
  };
  const layer = join(path, 'layer');
  await pipeline(
    Readable.from(pieces()),
    createGzip({ level: 0, chunkSize: PIECE.length }),
    createWriteStream(layer),
  );
  const written = await hashFile(layer);
  await rename(layer, blobPath(path, written.digest));
  const diffId = `sha256:${tar.digest('hex')}`;
  const root = await writeManifest(path, 'amd64', [{ mediaType: LAYER, ...written }], [diffId]);
  await writeIndex(path, root);
  return { path, root, manifests: [root], files: new Map() };
}

/** Every content that the layout's index leads to, as sorted lines of digest and size, after hashing all of it. */
export async function contents(path: string): Promise<string[]> {
  const seen = new Map<string, string>();
  const visit = async (descriptor: Descriptor): Promise<void> => {
    if (seen.has(descriptor.digest)) return;
    const file = blobPath(path, descriptor.digest);
    const { digest, size } = await hashFile(file, descriptor.digest.split(':')[0]);
    assert.equal(digest, descriptor.digest, `the bytes of ${file} are not those that its name promises`);
    assert.equal(size, descriptor.size, `${file} has another size than its descriptor`);
    seen.set(digest, `${digest} ${size}`);
    if (descriptor.mediaType.endsWith('+json') && descriptor.mediaType !== CONFIG) {
      await visitAll(parse(await readFile(file)));
    }
  };
  const visitAll = async (node: Node): Promise<void> => {
    const { config, layers = [], manifests = [] } = node;
    for (const next of [...(config ? [config] : []), ...layers, ...manifests]) await visit(next);
  };
  await visitAll(parse(await readFile(join(path, 'index.json'))));
  assert(seen.size > 0, `${path} holds nothing`);
  return [...seen.values()].sort();
}

/** Bytes that nothing compresses, made at the speed of AES. */
export function noise(bytes: number): Buffer {
  return createCipheriv('aes-128-ctr', randomBytes(16), randomBytes(16)).update(Buffer.alloc(bytes));
}

/** Writes such bytes to a file, of any size, and returns their digest. */
export async function writeNoise(path: string, bytes: number): Promise<string> {
  const hash = createHash('sha256');
  const pieces = function* () {
    for (const piece of noisePieces(bytes)) {
      hash.update(piece);
      yield piece;
    }
  };
  await pipeline(Readable.from(pieces()), createWriteStream(path));
  return `sha256:${hash.digest('hex')}`;
}

function* noisePieces(bytes: number): Generator<Buffer> {
  const cipher = createCipheriv('aes-128-ctr', randomBytes(16), randomBytes(16));
  for (let left = bytes; left > 0; left -= PIECE.length) yield cipher.update(PIECE.subarray(0, left));
}

export function digestOf(bytes: Uint8Array | string): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

export async function hashFile(
  path: string,
  algorithm = 'sha256',
): Promise<{ digest: string; size: number }> {
  const hash = createHash(algorithm);
  let size = 0;
  for await (const bytes of createReadStream(path, { highWaterMark: 1 << 20 })) {
    hash.update(bytes);
    size += bytes.length;
  }
  return { digest: `${algorithm}:${hash.digest('hex')}`, size };
}

export function blobPath(path: string, digest: string): string {
  return join(path, 'blobs', ...digest.split(':'));
}

async function writeManifest(
  path: string,
  architecture: string,
  layers: readonly Descriptor[],
  diffIds: readonly string[],
): Promise<Descriptor> {
  const platform = { os: 'linux', architecture };
  const config = {
    ...platform,
    config: { Cmd: ['/nothing'] },
    rootfs: { type: 'layers', diff_ids: diffIds },
  };
  const manifest = {
    schemaVersion: 2,
    mediaType: MANIFEST,
    config: await blob(path, CONFIG, json(config)),
    layers,
  };
  return { ...(await blob(path, MANIFEST, json(manifest))), platform };
}

async function writeIndex(path: string, root: Descriptor): Promise<void> {
  const tagged = { ...root, annotations: { 'org.opencontainers.image.ref.name': 'latest' } };
  await writeFile(
    join(path, 'index.json'),
    json({ schemaVersion: 2, mediaType: INDEX, manifests: [tagged] }),
  );
  await writeFile(join(path, 'oci-layout'), json({ imageLayoutVersion: '1.0.0' }));
}

async function blob(path: string, mediaType: string, bytes: Uint8Array): Promise<Descriptor> {
  const digest = digestOf(bytes);
  await writeFile(blobPath(path, digest), bytes);
  return { mediaType, digest, size: bytes.length };
}

/** A tar file in the POSIX format with one file in it. */
function tarball(name: string, content: Uint8Array): Buffer {
  const { before, after } = tarAround(name, content.length);
  return Buffer.concat([before, content, after]);
}

function tarAround(name: string, bytes: number) {
  const header = Buffer.alloc(512);
  const octal = (value: number, length: number) => `${value.toString(8).padStart(length - 1, '0')}\0`;
  header.write(name, 0);
  header.write(octal(0o644, 8), 100);
  header.write(octal(0, 8), 108);
  header.write(octal(0, 8), 116);
  header.write(octal(bytes, 12), 124);
  header.write(octal(0, 12), 136);
  header.write('        0', 148);
  header.write('ustar\x0000', 257);
  const sum = [...header].reduce((total, byte) => total + byte, 0);
  header.write(`${octal(sum, 7)} `, 148);
  // The file is padded to whole blocks of 512 bytes, and two empty blocks end the archive.
  return { before: header, after: Buffer.alloc(((512 - (bytes % 512)) % 512) + 1024) };
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

function parse(bytes: Buffer): Node {
  const node: Node = JSON.parse(bytes.toString());
  return node;
}
