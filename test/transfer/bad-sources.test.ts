// Sources that are wrong, damaged or made to harm: each gives a message that says what happened and what to do, and writes nothing.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  appendFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { CommandFailure } from '../../cli/failure.ts';
import { openSource } from '../../cli/transfer/open-source.ts';
import type { SourceOptions } from '../../cli/transfer/source.ts';
import { noise, writeLayout } from '../clients/support/layout.ts';
import {
  classicEntries,
  configOf,
  described,
  json,
  layerTar,
  layoutEntries,
  OCI_CONFIG,
  OCI_INDEX,
  OCI_LAYER,
  OCI_MANIFEST,
  ociImage,
  readSource,
  sha256,
} from './support/images.ts';
import { archive, entry, pax, type TarOptions } from './support/tar.ts';

const LAYER = layerTar(noise(100_000));
const GZIPPED = gzipSync(LAYER);
const GZIP = `${OCI_LAYER}+gzip`;
/** An archive as crane writes it, whose config states the digest of LAYER. */
function craneArchive(layer: Uint8Array, extension: string): Buffer {
  const config = configOf([LAYER]);
  const list = [
    { Config: `sha256:${sha256(config)}`, RepoTags: ['app:1'], Layers: [`layer.tar.${extension}`] },
  ];
  return archive(
    entry(`sha256:${sha256(config)}`, config),
    entry(`layer.tar.${extension}`, layer),
    entry('manifest.json', json(list)),
  );
}

function damagedAt(bytes: Uint8Array, at: number): Buffer {
  const damaged = Buffer.from(bytes);
  damaged[at] = (damaged[at] ?? 0) ^ 0xff;
  return damaged;
}

const ZEROS = '0'.repeat(64);

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'longshore-sources-'));
});
after(() => rm(folder, { recursive: true, force: true }));

let count = 0;
async function write(bytes: Uint8Array): Promise<string> {
  count += 1;
  const path = join(folder, `archive-${count}.tar`);
  await writeFile(path, bytes);
  return path;
}

async function attempt(image: string, options: Partial<SourceOptions> = {}): Promise<void> {
  const source = await openSource(image, {
    compression: 'gzip',
    report: () => {},
    env: { XDG_STATE_HOME: join(folder, 'state'), TMPDIR: folder },
    ...options,
  });
  try {
    await readSource(source);
  } finally {
    await source[Symbol.asyncDispose]();
  }
}

/** The failure has a sentence that says what to do behind the one that says what happened. */
async function assertFails(
  image: string,
  pattern: RegExp,
  options: Partial<SourceOptions> = {},
): Promise<void> {
  await assert.rejects(attempt(image, options), (error: unknown) => {
    assert(
      error instanceof CommandFailure,
      `a CommandFailure: ${error instanceof Error ? error.stack : error}`,
    );
    assert.match(error.message, pattern);
    assert.match(error.message, /\n\S/);
    assert(error.message.length < 2000);
    return true;
  });
}

/** A classic archive whose only layer is another entry. */
function withLayer(path: string, ...entries: Buffer[]): Buffer {
  const config = configOf([LAYER]);
  const list = [{ Config: `${sha256(config)}.json`, RepoTags: ['app:1'], Layers: [path] }];
  return archive(...entries, entry(`${sha256(config)}.json`, config), entry('manifest.json', json(list)));
}

/** A classic archive with this manifest.json. */
function withList(list: unknown): Buffer {
  const config = configOf([LAYER]);
  return archive(
    entry('config.json', config),
    entry('a/layer.tar', LAYER),
    entry('manifest.json', json(list)),
  );
}

/** A layout with one manifest of this content. */
function withManifest(manifest: object | Uint8Array, mediaType = OCI_MANIFEST): Buffer {
  const bytes = manifest instanceof Uint8Array ? manifest : json(manifest);
  return archive(...layoutEntries([bytes, GZIPPED, configOf([LAYER])], [described(mediaType, bytes)]));
}

function withIndexJson(bytes: Buffer | string): Buffer {
  return archive(entry('index.json', bytes), entry('oci-layout', json({ imageLayoutVersion: '1.0.0' })));
}

const classic = archive(...classicEntries([LAYER]));
const image = ociImage([GZIPPED], GZIP);
const layout = archive(...layoutEntries(image.blobs, [image.descriptor]));
const size = (options: TarOptions) => archive(entry('a', '', options), ...classicEntries([LAYER]));
const absent = { mediaType: OCI_MANIFEST, digest: `sha256:${ZEROS}`, size: 10 };
const deep = '['.repeat(1_000_000);

interface Row {
  name: string;
  bytes: () => Uint8Array;
  want: RegExp;
  spelling?: (path: string) => string;
  options?: Partial<SourceOptions>;
}

const ROWS: Row[] = [
  { name: 'an empty file', bytes: () => Buffer.alloc(0), want: /neither index.json nor manifest.json/ },
  { name: 'a text', bytes: () => Buffer.from('hello'), want: /is not a tar archive/ },
  { name: 'noise', bytes: () => noise(10_000), want: /is not a tar archive/ },
  { name: 'an archive of docker export', bytes: () => LAYER, want: /neither index.json.*docker export/s },
  {
    name: 'an archive in xz',
    bytes: () => Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]),
    want: /bzip2 or xz/,
  },
  {
    name: 'noise behind the beginning of gzip',
    bytes: () => Buffer.concat([Buffer.from([0x1f, 0x8b]), noise(999)]),
    want: /Cannot uncompress/,
  },
  {
    name: 'a layer in gzip with other bytes inside than its config states',
    bytes: () => craneArchive(gzipSync(layerTar('other')), 'gz'),
    want: /have another digest/,
  },
  {
    name: 'a layer in zstd with other bytes inside than its config states',
    bytes: () => craneArchive(zstdCompressSync(layerTar('other')), 'zst'),
    want: /have another digest/,
  },
  {
    name: 'a layer in gzip with a damaged byte',
    bytes: () => craneArchive(damagedAt(GZIPPED, 50_000), 'gz'),
    want: /^The layer "layer\.tar\.gz" in .* cannot be uncompressed: /,
  },
  {
    name: 'a layer in gzip that is cut off',
    bytes: () => craneArchive(GZIPPED.subarray(0, 50_000), 'gz'),
    want: /^The layer "layer\.tar\.gz" in .* cannot be uncompressed: /,
  },
  { name: 'a truncated gzip', bytes: () => gzipSync(classic).subarray(0, 50_000), want: /ends too early/ },
  {
    name: 'a truncated zstd',
    bytes: () => Buffer.from('28b52ffd0458', 'hex'),
    want: /ends too early|Cannot uncompress/,
  },
  {
    name: 'an archive that ends in a layer',
    bytes: () => classic.subarray(0, 50_000),
    want: /ends too early/,
  },
  { name: 'an archive that ends in a header', bytes: () => classic.subarray(0, 700), want: /ends too early/ },
  {
    name: 'an archive that ends before its list',
    bytes: () => classic.subarray(0, 1536),
    want: /neither index.json/,
  },
  {
    name: 'a header that is damaged',
    bytes: () => Buffer.concat([entry('a', 'b'), noise(512)]),
    want: /damaged: the header at byte 1024/,
  },
  {
    name: 'a size that is negative',
    bytes: () => size({ sizeField: Buffer.alloc(12, 0xff) }),
    want: /damaged: the size/,
  },
  {
    name: 'a size that is huge',
    bytes: () => size({ sizeField: Buffer.from([0x80, ...Buffer.alloc(11, 0xff)]) }),
    want: /damaged: the size/,
  },
  { name: 'a size beyond the end', bytes: () => size({ size: 8_000_000_000 }), want: /ends too early/ },
  {
    name: 'a size that is no number',
    bytes: () => size({ sizeField: Buffer.from('12x400000000') }),
    want: /damaged: the size/,
  },
  {
    name: 'a size in a pax header that is no number',
    bytes: () => archive(pax({ size: '-1' }), entry('a'), ...classicEntries([LAYER])),
    want: /damaged: the size/,
  },
  {
    name: 'a pax header without a length',
    bytes: () => archive(entry('x', 'path=a\n', { type: 'x' }), entry('a')),
    want: /damaged: a pax header/,
  },
  {
    name: 'a pax header that is longer than its entry',
    bytes: () => archive(entry('x', '99 path=a\n', { type: 'x' }), entry('a')),
    want: /damaged: a pax header/,
  },
  {
    name: 'a long name of 2 MiB',
    bytes: () => archive(entry('x', Buffer.alloc(2 << 20, 'a'), { type: 'L' }), entry('a')),
    want: /damaged: the size of the header/,
  },
  {
    name: 'an absolute path',
    bytes: () => archive(entry('/etc/passwd', 'a'), ...classicEntries([LAYER])),
    want: /leads out of the archive/,
  },
  {
    name: 'a path out of the archive',
    bytes: () => archive(entry('a/../../b', 'a'), ...classicEntries([LAYER])),
    want: /leads out of the archive/,
  },
  {
    name: 'a link out of the archive',
    bytes: () => withLayer('l', entry('l', '', { type: '2', link: '../../etc/passwd' })),
    want: /leads out of the archive/,
  },
  {
    name: 'an absolute link',
    bytes: () => withLayer('l', entry('l', '', { type: '2', link: '/etc/passwd' })),
    want: /leads out of the archive/,
  },
  {
    name: 'an absolute hard link',
    bytes: () => withLayer('l', entry('l', '', { type: '1', link: '/etc/passwd' })),
    want: /leads out of the archive/,
  },
  {
    name: 'a loop of links',
    bytes: () =>
      withLayer('l', entry('l', '', { type: '2', link: 'm' }), entry('m', '', { type: '1', link: 'l' })),
    want: /link to a link/,
  },
  {
    name: 'a link to nothing',
    bytes: () => withLayer('l', entry('l', '', { type: '2', link: 'm' })),
    want: /has no file "l"/,
  },
  {
    name: 'a layer that is a sparse file',
    bytes: () => withLayer('l', entry('l', LAYER, { type: 'S' })),
    want: /is a sparse file/,
  },
  {
    name: 'a layer that is a sparse file of pax',
    bytes: () => withLayer('l', pax({ 'GNU.sparse.major': '1' }), entry('l', LAYER)),
    want: /is a sparse file/,
  },
  {
    name: 'a layer that is a folder',
    bytes: () => withLayer('l', entry('l', '', { type: '5' })),
    want: /has no file "l"/,
  },
  {
    name: 'a layer that is elsewhere',
    bytes: () => withLayer('../../etc/passwd'),
    want: /leads out of the archive/,
  },
  { name: 'a layer that is missing', bytes: () => withLayer('l'), want: /has no file "l".*incomplete/s },
  {
    name: 'a layer that is there twice',
    bytes: () => withLayer('l', entry('l', LAYER), entry('l', LAYER)),
    want: /"l" twice/,
  },
  {
    name: 'a list that is there twice',
    bytes: () => archive(...classicEntries([LAYER]), entry('manifest.json', '[]')),
    want: /"manifest.json" twice/,
  },
  {
    name: 'an index.json that is there twice',
    bytes: () =>
      archive(...layoutEntries(image.blobs, [image.descriptor]), entry('index.json', '{"manifests":[]}')),
    want: /"index.json" twice/,
  },
  {
    name: 'a layer with another digest',
    bytes: () => withLayer('l', entry('l', layerTar('other'))),
    want: /have another digest/,
  },
  { name: 'a layer in bzip2', bytes: () => withLayer('l', entry('l', 'BZh91AY&SY')), want: /bzip2 or xz/ },
  {
    name: 'a config with another digest',
    bytes: () =>
      archive(
        entry(`${ZEROS}.json`, configOf([LAYER])),
        entry('l', LAYER),
        entry('manifest.json', json([{ Config: `${ZEROS}.json`, Layers: ['l'] }])),
      ),
    want: /have another digest/,
  },
  {
    name: 'fewer layers than the config states',
    bytes: () => withList([{ Config: 'config.json', Layers: [] }]),
    want: /has 0 layers, but its config states 1/,
  },
  {
    name: 'a config without layers',
    bytes: () => archive(entry('c', '{}'), entry('manifest.json', json([{ Config: 'c', Layers: [] }]))),
    want: /no rootfs.diff_ids/,
  },
  {
    name: 'a config that is no JSON',
    bytes: () => archive(entry('c', '{'), entry('manifest.json', json([{ Config: 'c', Layers: [] }]))),
    want: /is not valid JSON/,
  },
  {
    name: 'a list that is no JSON',
    bytes: () => archive(entry('manifest.json', '[')),
    want: /is not valid JSON/,
  },
  {
    name: 'a list that is deep',
    bytes: () => archive(entry('manifest.json', deep)),
    want: /is not valid JSON/,
  },
  {
    name: 'a list of 5 MB',
    bytes: () => archive(entry('manifest.json', Buffer.alloc(5_000_000, ' '))),
    want: /at most 4194304 are allowed/,
  },
  { name: 'a list that is an object', bytes: () => withList({}), want: /not a list of images/ },
  { name: 'a list of numbers', bytes: () => withList([1]), want: /needs Config, Layers and RepoTags/ },
  { name: 'a list of nothing', bytes: () => withList([]), want: /has no image/ },
  {
    name: 'several images without a name',
    bytes: () =>
      withList([
        { Config: 'config.json', Layers: ['a/layer.tar'], RepoTags: ['a:1'] },
        { Config: 'other.json', Layers: [] },
      ]),
    want: /several images: a:1, other.json/,
  },
  {
    name: 'a name that is not there',
    bytes: () => classic,
    spelling: (path) => `docker-archive:${path}:other:1`,
    want: /no image "other:1". It has app:1/,
  },
  {
    name: 'another platform than that of the image',
    bytes: () => classic,
    options: { platform: 'linux/arm64' },
    want: /is for linux\/amd64, not for linux\/arm64/,
  },
  {
    name: 'a colon without a tag',
    bytes: () => layout,
    spelling: (path) => `oci:${path}:`,
    want: /Nothing follows the colon/,
  },
  {
    name: 'a tag that is not in the layout',
    bytes: () => layout,
    spelling: (path) => `oci:${path}:1`,
    want: /no image "1"/,
  },
  {
    name: 'another platform than that of the layout',
    bytes: () => archive(...layoutEntries(image.blobs, [described(OCI_MANIFEST, image.manifest)])),
    options: { platform: 'linux/arm64' },
    want: /is for linux\/amd64, not for linux\/arm64/,
  },
  {
    name: 'a platform that is not in the list of the layout',
    bytes: () => layout,
    options: { platform: 'windows/amd64' },
    want: /no image for windows\/amd64/,
  },
  {
    name: 'a platform that is no platform',
    bytes: () => layout,
    options: { platform: 'arm64' },
    want: /"arm64" is not a platform/,
  },
  { name: 'an index.json that is no JSON', bytes: () => withIndexJson('{'), want: /is not valid JSON/ },
  {
    name: 'an index.json that is no text',
    bytes: () => withIndexJson(Buffer.from([0xff, 0xfe])),
    want: /is not valid JSON/,
  },
  { name: 'an index.json that is a list', bytes: () => withIndexJson('[]'), want: /is not a JSON object/ },
  { name: 'an index.json without manifests', bytes: () => withIndexJson('{}'), want: /no list of manifests/ },
  {
    name: 'an index.json with an empty list',
    bytes: () => withIndexJson('{"manifests":[]}'),
    want: /has no image/,
  },
  {
    name: 'a descriptor that is a number',
    bytes: () => withIndexJson('{"manifests":[1]}'),
    want: /is not a descriptor/,
  },
  {
    name: 'a descriptor with a negative size',
    bytes: () => withIndexJson(json({ manifests: [{ ...absent, size: -1 }] })),
    want: /is not a descriptor/,
  },
  {
    name: 'a descriptor with a path as digest',
    bytes: () => withIndexJson(json({ manifests: [{ ...absent, digest: 'sha256:../../etc/passwd' }] })),
    want: /is not a descriptor/,
  },
  {
    name: 'a descriptor of another algorithm',
    bytes: () => withIndexJson(json({ manifests: [{ ...absent, digest: `md5:${'0'.repeat(32)}` }] })),
    want: /is not a descriptor/,
  },
  {
    name: 'a manifest that is missing',
    bytes: () => withIndexJson(json({ manifests: [absent] })),
    want: /is incomplete: the manifest sha256:0+ missing/,
  },
  {
    name: 'a manifest with another digest',
    bytes: () => archive(entry(`blobs/sha256/${ZEROS}`, '0123456789'), ...layoutEntries([], [absent])),
    want: /have another digest/,
  },
  {
    name: 'a manifest with another size',
    bytes: () => archive(entry(`blobs/sha256/${ZEROS}`, '0123'), ...layoutEntries([], [absent])),
    want: /has 4 bytes, but its descriptor states 10/,
  },
  {
    name: 'a manifest that is a layer',
    bytes: () => withManifest(LAYER),
    want: /invalid, and registries refuse it/,
  },
  {
    name: 'a manifest of 5 MB',
    bytes: () => withIndexJson(json({ manifests: [{ ...absent, size: 5_000_000 }] })),
    want: /Registries take manifests of at most/,
  },
  {
    name: 'a manifest that is an index by its own word',
    bytes: () => withManifest({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [] }),
    want: /invalid, and registries refuse it/,
  },
  {
    name: 'a manifest with layers that are numbers',
    bytes: () =>
      withManifest({ schemaVersion: 2, config: described(OCI_CONFIG, configOf([LAYER])), layers: [1] }),
    want: /layers\[0\] must be a descriptor/,
  },
  {
    name: 'a manifest of schema 1',
    bytes: () => withManifest({ schemaVersion: 1 }, 'application/vnd.docker.distribution.manifest.v1+json'),
    want: /schema 1 manifests are not supported/,
  },
  {
    name: 'a manifest whose layer and config are missing',
    bytes: () =>
      withManifest({
        schemaVersion: 2,
        config: { ...absent, mediaType: OCI_CONFIG },
        layers: [{ ...absent, digest: `sha256:${'1'.repeat(64)}`, mediaType: GZIP }],
      }),
    want: /incomplete: the blob sha256:0+ .*config.*, the blob sha256:1+ .*gzip.* missing/,
  },
  {
    name: 'a layer of a layout with another digest',
    bytes: () =>
      archive(
        ...layoutEntries([image.config, image.manifest], [image.descriptor]),
        entry(`blobs/sha256/${sha256(GZIPPED)}`, noise(GZIPPED.length)),
      ),
    want: /have another digest/,
  },
  {
    name: 'a layer of a layout with another size',
    bytes: () =>
      archive(
        ...layoutEntries([image.config, image.manifest], [image.descriptor]),
        entry(`blobs/sha256/${sha256(GZIPPED)}`, 'short'),
      ),
    want: /has 5 bytes, but its descriptor states/,
  },
  {
    name: 'a platform of an index that is missing',
    bytes: () => withChildren(1),
    want: /incomplete: the manifest sha256:\w+ \(linux\/child-1\) missing/,
  },
  { name: '3,000 children that are missing', bytes: () => withChildren(3000), want: /and 2995 more missing/ },
  {
    name: 'a platform that the index does not have',
    bytes: () => withChildren(2),
    options: { platform: 'linux/s390x' },
    want: /no platform linux\/s390x. It has linux\/amd64, linux\/child-1, linux\/child-2/,
  },
  {
    name: 'indexes in indexes, ten times',
    bytes: () => nested(10),
    want: /more than 8 indexes inside each other/,
  },
];

/** An index with one child that is there and others that are missing. */
function withChildren(missing: number): Buffer {
  const children = Array.from({ length: missing }, (_, at) => ({
    ...absent,
    digest: `sha256:${sha256(Buffer.from(String(at)))}`,
    platform: { os: 'linux', architecture: `child-${at + 1}` },
  }));
  const index = json({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [image.descriptor, ...children] });
  return archive(...layoutEntries([...image.blobs, index], [described(OCI_INDEX, index)]));
}

function nested(depth: number): Buffer {
  const indexes: Buffer[] = [];
  let child: object = image.descriptor;
  for (let level = 0; level < depth; level += 1) {
    const index = json({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [child] });
    indexes.push(index);
    child = described(OCI_INDEX, index);
  }
  return archive(...layoutEntries([...image.blobs, ...indexes], [child]));
}

describe('an archive that is wrong', () => {
  for (const { name, bytes, want, spelling = (path: string) => path, options } of ROWS) {
    it(`an archive that is wrong is refused: ${name}`, async () => {
      const path = await write(bytes());
      const files = await readdir(folder);
      await assertFails(spelling(path), want, options);
      assert.deepEqual(
        (await readdir(folder)).filter((file) => file !== 'state'),
        files.filter((file) => file !== 'state'),
      );
    });
  }

  it('an archive that is wrong is not read where a layer changes between the beginning and the end', async () => {
    const path = await write(layout);
    const source = await openSource(path, { compression: 'gzip', report: () => {}, env: { TMPDIR: folder } });
    try {
      for await (const blob of source.blobs()) for await (const _ of blob.open(0, blob.size));
      await appendFile(path, 'more');
      await assert.rejects(source.manifests(), /changed while it was read/);
    } finally {
      await source[Symbol.asyncDispose]();
    }
  });

  it('an archive that is wrong is not read where the file becomes shorter', async () => {
    const path = await write(layout);
    const source = await openSource(path, { compression: 'gzip', report: () => {}, env: { TMPDIR: folder } });
    try {
      const blobs: { size: number; open(start: number, end: number): AsyncIterable<Uint8Array> }[] = [];
      for await (const blob of source.blobs()) blobs.push(blob);
      await truncate(path, 2000);
      const layer = blobs.find(({ size }) => size === GZIPPED.length) ?? assert.fail('the layer is given');
      await assert.rejects(async () => {
        for await (const _ of layer.open(0, layer.size));
      }, /changed while it was read/);
    } finally {
      await source[Symbol.asyncDispose]();
    }
  });
});

describe('a folder that is wrong', () => {
  const make = async () => {
    count += 1;
    return writeLayout(join(folder, `layout-${count}`));
  };

  it('a folder that is wrong is refused without an index.json', async () => {
    const path = join(folder, 'empty');
    await mkdir(path);
    await assertFails(`oci:${path}`, /has no index.json/);
  });

  it('a folder that is wrong is refused where a blob is a folder', async () => {
    const { path, root } = await make();
    const blob = join(path, 'blobs', root.digest.replace(':', '/'));
    await rm(blob);
    await mkdir(blob);
    await assertFails(path, /is not a file/);
  });

  it('a folder that is wrong is refused where a blob is a pipe, without waiting for it', async () => {
    const { path, root } = await make();
    const blob = join(path, 'blobs', root.digest.replace(':', '/'));
    await rm(blob);
    execFileSync('mkfifo', [blob]);
    await assertFails(path, /is not a file/);
  });

  it('a folder that is wrong is refused where a blob is a loop of links', async () => {
    const { path, root } = await make();
    const blob = join(path, 'blobs', root.digest.replace(':', '/'));
    await rm(blob);
    await symlink(blob, blob);
    await assertFails(path, /Cannot read .*ELOOP/);
  });

  it('a folder that is wrong is refused where a link names a file that is no blob', async () => {
    const { path, root } = await make();
    const blob = join(path, 'blobs', root.digest.replace(':', '/'));
    const secret = join(folder, 'secret');
    await writeFile(secret, noise((await readFile(blob)).length));
    await rm(blob);
    await symlink(secret, blob);
    await assertFails(path, /have another digest/);
  });

  it('a folder that is wrong is refused where a blob changes while it is read', async () => {
    const { path } = await make();
    const source = await openSource(path, { compression: 'gzip', report: () => {}, env: {} });
    await assert.rejects(async () => {
      for await (const { descriptor, open, size } of source.blobs()) {
        await appendFile(join(path, 'blobs', descriptor.digest.replace(':', '/')), 'more');
        for await (const _ of open(0, size));
      }
    }, /changed while it was read/);
  });
});

describe('a name that is wrong', () => {
  const nowhere = {
    DOCKER_HOST: 'unix:///nonexistent/docker.sock',
    CONTAINER_HOST: 'unix:///nonexistent/podman.sock',
  };
  const rows: { name: string; image: string; want: RegExp; env?: Record<string, string> }[] = [
    { name: 'nothing', image: '', want: /does not name an image/ },
    { name: 'a scheme alone', image: 'docker:', want: /does not name an image/ },
    { name: 'a path that does not exist', image: './missing.tar', want: /There is no file or folder/ },
    { name: 'a file that does not exist', image: 'missing.tar', want: /There is no file or folder/ },
    { name: 'a layout that does not exist', image: 'oci:/nonexistent:1', want: /There is no file or folder/ },
    { name: 'a name with a space', image: 'a b', want: /is not the name of an image/ },
    { name: 'an option', image: 'containerd:--help', want: /is not the name of an image/ },
    { name: 'a name that leaves the path', image: 'docker:../../info', want: /is not the name of an image/ },
    {
      name: 'a name where no engine runs',
      image: 'app:1',
      want: /docker does not answer at unix:.*podman does not answer/s,
    },
    {
      name: 'a host of another scheme',
      image: 'app:1',
      env: { DOCKER_HOST: 'ssh://host' },
      want: /only unix:\/\/ and tcp:\/\//,
    },
    {
      name: 'a host that is nothing',
      image: 'app:1',
      env: { DOCKER_HOST: 'localhost' },
      want: /only unix:\/\/ and tcp:\/\//,
    },
    {
      name: 'a context that does not exist',
      image: 'app:1',
      env: { DOCKER_HOST: '', DOCKER_CONTEXT: 'missing' },
      want: /context "missing" of docker cannot be read/,
    },
    {
      name: 'containerd without ctr',
      image: 'containerd:app:1',
      env: { PATH: '/nonexistent' },
      want: /ctr is not installed/,
    },
    {
      name: 'a registry without a repository',
      image: 'registry:host',
      want: /does not name a registry and a repository/,
    },
  ];
  for (const { name, image, want, env = {} } of rows) {
    it(`a name that is wrong is refused: ${name}`, () =>
      assertFails(image, want, { env: { HOME: folder, TMPDIR: folder, ...nowhere, ...env } }));
  }
});

describe('a docker that answers in a wrong way', () => {
  const rows: {
    name: string;
    inspect: [number, string];
    get?: [number, string | Buffer];
    cuts?: boolean;
    want: RegExp;
  }[] = [
    { name: 'no JSON', inspect: [200, 'hello'], want: /is not valid JSON/ },
    {
      name: 'an error',
      inspect: [500, '{"message":"the disk is broken"}'],
      want: /answered with 500: the disk is broken/,
    },
    {
      name: 'an error of the export',
      inspect: [200, '{}'],
      get: [500, '{"message":"no space"}'],
      want: /answered with 500: no space/,
    },
    {
      name: 'an empty archive',
      inspect: [200, '{}'],
      get: [200, ''],
      want: /neither index.json nor manifest.json/,
    },
    {
      name: 'an archive that is cut',
      inspect: [200, '{}'],
      get: [200, classic.subarray(0, 40_000)],
      cuts: true,
      want: /ended before it was whole/,
    },
    {
      name: 'an archive that ends early',
      inspect: [200, '{}'],
      get: [200, classic.subarray(0, 40_000)],
      want: /ends too early/,
    },
  ];
  for (const { name, inspect, get = [200, ''] as const, cuts = false, want } of rows) {
    it(`a docker that answers in a wrong way is not believed: ${name}`, async () => {
      const server = createServer(({ url = '' }, response) => {
        const [status, body] = url.endsWith('/json') ? inspect : get;
        response.statusCode = Number(status);
        response.write(body);
        if (url.endsWith('/get') && cuts) setImmediate(() => response.destroy());
        else response.end();
      });
      count += 1;
      const socket = join(folder, `docker-${count}.sock`);
      await new Promise<void>((resolve) => server.listen(socket, resolve));
      try {
        await assertFails('docker:app:1', want, {
          env: { HOME: folder, TMPDIR: folder, DOCKER_HOST: `unix://${socket}` },
        });
      } finally {
        server.closeAllConnections();
        server.close();
      }
    });
  }
});

describe('a folder for temporary files that cannot be used', () => {
  it('a folder for temporary files that cannot be used is named with TMPDIR', () =>
    assertFails(join(folder, 'image.tar'), /Cannot write to \/nonexistent.*TMPDIR/s, {
      env: { TMPDIR: '/nonexistent' },
    }));
  before(() => writeFile(join(folder, 'image.tar'), gzipSync(classic)));
});
