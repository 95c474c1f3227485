// Archives as sources of images: the forms that docker, podman, crane and containerd write.
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { gunzipSync, gzipSync, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { openSource } from '../../cli/transfer/open-source.ts';
import type { SourceOptions } from '../../cli/transfer/source.ts';
import { noise } from '../clients/support/layout.ts';
import {
  classicEntries,
  configOf,
  described,
  type Given,
  json,
  layerTar,
  layoutEntries,
  OCI_INDEX,
  OCI_LAYER,
  ociImage,
  readSource,
  sha256,
} from './support/images.ts';
import { archive, entry, pax } from './support/tar.ts';

const LAYERS = [
  layerTar(noise(3_000_000)),
  layerTar('two'),
  layerTar(Buffer.alloc(5_000_000, 'text ')),
] as const;
const [FIRST, SECOND] = LAYERS;
const GZIP = `${OCI_LAYER}+gzip`;

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'longshore-sources-'));
});
after(() => rm(folder, { recursive: true, force: true }));

interface Spelled {
  bytes: Uint8Array;
  spelling?: (path: string) => string;
  options?: Partial<SourceOptions>;
}

let count = 0;
async function given({ bytes, spelling = (path) => path, options = {} }: Spelled): Promise<Given> {
  count += 1;
  const path = join(folder, `archive-${count}.tar`);
  await writeFile(path, bytes);
  const source = await openSource(spelling(path), {
    compression: 'gzip',
    report: () => {},
    env: { XDG_STATE_HOME: join(folder, `state-${count}`) },
    ...options,
  });
  try {
    return await readSource(source);
  } finally {
    await source[Symbol.asyncDispose]();
  }
}

/** The layers without their compression. */
function plainLayers({ image, blobs }: Given): Buffer[] {
  return image.layers.map(({ digest, mediaType }) => {
    const bytes = blobs.get(digest) ?? assert.fail(`${digest} was not given`);
    if (mediaType.endsWith('+gzip')) return gunzipSync(bytes);
    return mediaType.endsWith('+zstd') ? zstdDecompressSync(bytes) : bytes;
  });
}

describe('an archive of docker save', () => {
  const forms: { name: string; bytes: () => Uint8Array }[] = [
    { name: 'of the classic form', bytes: () => archive(...classicEntries(LAYERS)) },
    { name: 'of the classic form in gzip', bytes: () => gzipSync(archive(...classicEntries(LAYERS))) },
    {
      name: 'of the classic form in zstd',
      bytes: () => zstdCompressSync(archive(...classicEntries(LAYERS))),
    },
    {
      name: 'of Docker 25, a layout without compression',
      bytes: () => {
        const { blobs, descriptor } = ociImage(LAYERS);
        return archive(...layoutEntries(blobs, [descriptor]));
      },
    },
    {
      name: 'of podman, with layers named by their digests',
      bytes: () => {
        const config = configOf(LAYERS);
        const Layers = LAYERS.map((layer) => `${sha256(layer)}.tar`);
        const list = [{ Config: `${sha256(config)}.json`, RepoTags: ['localhost/app:1'], Layers }];
        return archive(
          ...LAYERS.map((layer, at) => entry(Layers[at] ?? '', layer)),
          entry(`${sha256(config)}.json`, config),
          entry('manifest.json', json(list)),
        );
      },
    },
  ];
  for (const { name, bytes } of forms) {
    for (const compression of ['gzip', 'zstd'] as const) {
      it(`an archive of docker save, ${name}, gives layers compressed with ${compression}`, async () => {
        const found = await given({ bytes: bytes(), options: { compression } });
        assert.deepEqual(
          found.image.layers.map(({ mediaType }) => mediaType),
          LAYERS.map(() => `${OCI_LAYER}+${compression}`),
        );
        assert.deepEqual(plainLayers(found), [...LAYERS]);
        assert.deepEqual(found.blobs.get(found.image.config.digest), configOf(LAYERS));
        assert.equal(found.blobs.size, LAYERS.length + 1);
      });
    }
  }

  it('an archive of docker save gives a repeated layer once, and names it twice', async () => {
    const found = await given({ bytes: archive(...classicEntries([FIRST, SECOND, FIRST])) });
    assert.deepEqual(plainLayers(found), [FIRST, SECOND, FIRST]);
    assert.equal(found.blobs.size, 3);
  });

  it('an archive of docker save gives the same digests each time', async () => {
    const first = await given({ bytes: archive(...classicEntries(LAYERS)) });
    const second = await given({ bytes: archive(...classicEntries(LAYERS)) });
    assert.deepEqual(second.image, first.image);
  });

  it('an archive of crane, with layers in gzip, keeps their digests', async () => {
    const layers = [FIRST, SECOND].map((layer) => gzipSync(layer, { level: 1 }));
    const config = configOf([FIRST, SECOND]);
    const Layers = layers.map((layer) => `${sha256(layer)}.tar.gz`);
    const list = [{ Config: `sha256:${sha256(config)}`, RepoTags: ['app:1'], Layers }];
    const found = await given({
      bytes: archive(
        entry(`sha256:${sha256(config)}`, config),
        ...layers.map((layer, at) => entry(Layers[at] ?? '', layer)),
        entry('manifest.json', json(list)),
      ),
    });
    assert.deepEqual(
      found.image.layers,
      layers.map((layer) => described(GZIP, layer)),
    );
  });

  it('an archive of docker save leaves out base layers of Windows that have URLs', async () => {
    const config = configOf([FIRST, SECOND]);
    const foreign = {
      ...described('application/vnd.docker.image.rootfs.foreign.diff.tar.gzip', gzipSync(FIRST)),
      urls: ['https://example.com/layer'],
    };
    const list = [
      {
        Config: `${sha256(config)}.json`,
        RepoTags: ['app:1'],
        Layers: ['a/layer.tar', 'b/layer.tar'],
        LayerSources: { [`sha256:${sha256(FIRST)}`]: foreign },
      },
    ];
    const found = await given({
      bytes: archive(
        entry('b/layer.tar', SECOND),
        entry(`${sha256(config)}.json`, config),
        entry('manifest.json', json(list)),
      ),
    });
    assert.deepEqual(found.image.layers[0], foreign);
    assert.equal(found.blobs.size, 2);
  });

  for (const { name, spelling } of [
    { name: 'by its name', spelling: (path: string) => `docker-archive:${path}:team/two:2` },
    { name: 'by its name with the host', spelling: (path: string) => `${path}:docker.io/team/two:2` },
  ]) {
    it(`an archive of docker save with several images gives one ${name}`, async () => {
      const configs = [configOf([FIRST]), configOf([SECOND])];
      const list = configs.map((config, at) => ({
        Config: `${sha256(config)}.json`,
        RepoTags: [['one:1'], ['team/two:2']][at],
        Layers: [`${at}/layer.tar`],
      }));
      const bytes = archive(
        entry('0/layer.tar', FIRST),
        entry('1/layer.tar', SECOND),
        ...configs.map((config) => entry(`${sha256(config)}.json`, config)),
        entry('manifest.json', json(list)),
      );
      assert.deepEqual(plainLayers(await given({ bytes, spelling })), [SECOND]);
    });
  }
});

describe('an archive of an OCI layout', () => {
  const images = ['amd64', 'arm64'].map((architecture, at) =>
    ociImage([gzipSync(LAYERS[at] ?? FIRST)], GZIP, architecture),
  );
  const index = json({
    schemaVersion: 2,
    mediaType: OCI_INDEX,
    manifests: images.map(({ descriptor }) => descriptor),
  });
  const blobs = [...images.flatMap((image) => image.blobs), index];
  const tagged = {
    ...described(OCI_INDEX, index),
    annotations: { 'org.opencontainers.image.ref.name': '1' },
  };

  it('an archive of an OCI layout keeps an index and all of its digests', async () => {
    const found = await given({ bytes: archive(...layoutEntries(blobs, [tagged])) });
    assert.deepEqual(
      found.manifests.map(({ descriptor }) => descriptor.digest),
      [...images.map(({ descriptor }) => descriptor.digest), tagged.digest],
    );
    assert.equal(found.blobs.size, 4);
  });

  it('an archive of an OCI layout gives one platform where one is asked for', async () => {
    const found = await given({
      bytes: archive(...layoutEntries(blobs, [tagged])),
      options: { platform: 'linux/arm64/v8' },
    });
    assert.deepEqual(
      found.manifests.map(({ descriptor }) => descriptor.digest),
      [images[1]?.descriptor.digest],
    );
  });

  it('an archive of an OCI layout compresses nothing in an index, so that its digests stay', async () => {
    const image = ociImage([FIRST]);
    const parent = json({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [image.descriptor] });
    const found = await given({
      bytes: archive(...layoutEntries([...image.blobs, parent], [described(OCI_INDEX, parent)])),
    });
    assert.equal(found.manifests.at(-1)?.descriptor.digest, `sha256:${sha256(parent)}`);
    assert(found.blobs.has(`sha256:${sha256(FIRST)}`));
  });

  it('an archive of an OCI layout names the files in any way that tar allows', async () => {
    const { blobs, descriptor } = ociImage([gzipSync(FIRST)], GZIP);
    const path = (blob: Buffer) => `blobs/sha256/${sha256(blob)}`;
    const [config = FIRST, layer = FIRST, manifest = FIRST] = blobs;
    const bytes = archive(
      entry('./', '', { type: '5', size: 4000 }),
      pax({ path: `./${path(config)}`, size: String(config.length), mtime: '1.5' }),
      entry('short', config, { size: 0 }),
      entry('././@LongLink', `${path(layer)}\0`, { type: 'L' }),
      entry('short', layer),
      entry(sha256(manifest), manifest, { prefix: './blobs/sha256' }),
      pax({ comment: 'a' }),
      ...layoutEntries([], [descriptor]),
    );
    assert.equal((await given({ bytes })).manifests[0]?.descriptor.digest, descriptor.digest);
  });
});
