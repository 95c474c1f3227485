// Images that are pushed again: what their layers were compressed to is remembered.
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { openSource } from '../../cli/transfer/open-source.ts';
import { CompressedLayers } from '../../cli/transfer/remembered.ts';
import type { Source } from '../../cli/transfer/source.ts';
import { parseDigest } from '../../worker/oci/digest.ts';
import { noise } from '../clients/support/layout.ts';
import { classicEntries, configOf, json, layerTar, readSource, sha256 } from './support/images.ts';
import { archive, entry } from './support/tar.ts';

const LAYER = layerTar(noise(3_000_000));

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'longshore-remembered-'));
});
after(() => rm(folder, { recursive: true, force: true }));

let count = 0;
/** Runs with the image of an archive, and a folder for the state. */
async function withImage<T>(
  bytes: Uint8Array,
  state: string,
  use: (source: Source) => Promise<T>,
): Promise<T> {
  count += 1;
  const path = join(folder, `image-${count}.tar`);
  await writeFile(path, bytes);
  const source = await openSource(path, {
    compression: 'gzip',
    report: () => {},
    env: { XDG_STATE_HOME: state, TMPDIR: folder },
  });
  try {
    return await use(source);
  } finally {
    await source[Symbol.asyncDispose]();
  }
}

/** What the source says of the image, without a byte of a layer. */
async function describeOnly(source: Source) {
  const blobs = [];
  for await (const { descriptor } of source.blobs()) blobs.push(descriptor);
  return { blobs, manifests: await source.manifests() };
}

/** An image whose layer in the archive is another one than its config states. */
function withOtherLayer(): Buffer {
  const config = configOf([LAYER]);
  const name = `${sha256(config)}.json`;
  const list = [{ Config: name, RepoTags: ['app:1'], Layers: ['a/layer.tar'] }];
  return archive(
    entry('a/layer.tar', layerTar('other')),
    entry(name, config),
    entry('manifest.json', json(list)),
  );
}

describe('an image that is pushed again', () => {
  it('an image that is pushed again is described without compression, and compressed when a layer is read', async () => {
    const state = join(folder, 'again');
    const image = archive(...classicEntries([LAYER]));
    const first = await withImage(image, state, readSource);
    const again = await withImage(image, state, describeOnly);
    assert.deepEqual(again.manifests, first.manifests);
    // Were the layer read, its other digest would be noticed.
    await withImage(withOtherLayer(), state, describeOnly);
    await assert.rejects(withImage(withOtherLayer(), state, readSource), /have another digest/);
    assert.deepEqual((await withImage(image, state, readSource)).blobs, first.blobs);
  });

  it('an image that is pushed again is compressed anew after other bytes came out than were remembered', async () => {
    const state = join(folder, 'wrong');
    const image = archive(...classicEntries([LAYER]));
    const first = await withImage(image, state, readSource);
    const path = join(state, 'longshore/compressed-layers.json');
    const text = await readFile(path, 'utf8');
    await writeFile(path, text.replace(/"digest":"sha256:\w{8}/, '"digest":"sha256:00000000'));
    await assert.rejects(withImage(image, state, readSource), /compressed to other bytes.*\nPush again/s);
    assert.deepEqual((await withImage(image, state, readSource)).manifests, first.manifests);
  });

  it('an image that is pushed again can be read in parts, in any order', async () => {
    const state = join(folder, 'parts');
    const image = archive(...classicEntries([LAYER]));
    const whole = await withImage(image, state, readSource);
    await withImage(image, state, async (source) => {
      for await (const { descriptor, open, size } of source.blobs()) {
        const part = async (start: number, end: number) => {
          const pieces: Uint8Array[] = [];
          for await (const piece of open(start, end)) pieces.push(Buffer.from(piece));
          return Buffer.concat(pieces);
        };
        const middle = Math.floor(size / 2);
        const [end, beginning] = await Promise.all([part(middle, size), part(0, middle)]);
        assert(Buffer.concat([beginning, end]).equals(whole.blobs.get(descriptor.digest) ?? Buffer.alloc(0)));
      }
    });
  });

  for (const { name, content } of [
    { name: 'no JSON', content: '{' },
    { name: 'of another version', content: '{"version":2,"layers":{}}' },
    {
      name: 'of other values',
      content: '{"version":1,"layers":{"a":1,"b":{"digest":"x","size":1},"c":null}}',
    },
    { name: 'a list', content: '[]' },
  ]) {
    it(`an image that is pushed again is compressed where the file of the state is ${name}`, async () => {
      const state = join(folder, `state-${name.replaceAll(' ', '-')}`);
      await mkdir(join(state, 'longshore'), { recursive: true });
      await writeFile(join(state, 'longshore/compressed-layers.json'), content);
      assert.equal((await withImage(archive(...classicEntries([LAYER])), state, readSource)).blobs.size, 2);
    });
  }

  it('an image that is pushed again is compressed where the folder of the state cannot be made', async () => {
    await writeFile(join(folder, 'file'), '');
    const image = archive(...classicEntries([LAYER]));
    assert.equal((await withImage(image, join(folder, 'file'), readSource)).blobs.size, 2);
  });
});

describe('the file of what was compressed', () => {
  const digest = (at: number) => parseDigest(`sha256:${at.toString(16).padStart(64, '0')}`);

  it('the file of what was compressed is readable by its owner alone, and leaves no other file', async () => {
    const env = { XDG_STATE_HOME: join(folder, 'mode') };
    await (await CompressedLayers.load(env)).add(digest(1), 'gzip', { digest: digest(2), size: 3 });
    const path = join(folder, 'mode/longshore');
    assert.deepEqual(await readdir(path), ['compressed-layers.json']);
    assert.equal((await stat(join(path, 'compressed-layers.json'))).mode & 0o777, 0o600);
  });

  it('the file of what was compressed keeps what two processes added, by compression', async () => {
    const env = { XDG_STATE_HOME: join(folder, 'two') };
    const [one, two] = [await CompressedLayers.load(env), await CompressedLayers.load(env)];
    await one.add(digest(1), 'gzip', { digest: digest(11), size: 1 });
    await two.add(digest(2), 'gzip', { digest: digest(12), size: 2 });
    const both = await CompressedLayers.load(env);
    assert.deepEqual(both.get(digest(1), 'gzip'), { digest: digest(11), size: 1 });
    assert.deepEqual(both.get(digest(2), 'gzip'), { digest: digest(12), size: 2 });
    assert.equal(both.get(digest(2), 'zstd'), null);
  });

  it('the file of what was compressed forgets the layers that were not used for the longest time', async () => {
    const env = { XDG_STATE_HOME: join(folder, 'many') };
    const names = Array.from({ length: 2000 }, (_, at) => `${digest(at)} gzip`);
    const layers = Object.fromEntries(names.map((name) => [name, { digest: digest(1), size: 1 }]));
    await mkdir(join(folder, 'many/longshore'), { recursive: true });
    await writeFile(
      join(folder, 'many/longshore/compressed-layers.json'),
      JSON.stringify({ version: 1, layers }),
    );
    const full = await CompressedLayers.load(env);
    assert(full.get(digest(0), 'gzip'));
    await full.add(digest(5000), 'gzip', { digest: digest(1), size: 1 });
    const kept = await CompressedLayers.load(env);
    assert(kept.get(digest(5000), 'gzip'));
    assert(kept.get(digest(0), 'gzip'));
    assert.equal(kept.get(digest(1), 'gzip'), null);
  });
});
