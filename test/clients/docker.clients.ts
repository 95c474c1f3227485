// Docker with its classic store, a real daemon: it builds from nothing, pushes, forgets, pulls back, and the files in
// the layers that came back are compared. Last, a big image, pulled back by Docker and by skopeo.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { type Client, client, needs } from './support/client.ts';
import { startDocker } from './support/docker.ts';
import { hashFile, noise, writeNoise } from './support/layout.ts';
import { scene } from './support/registry.ts';

const MIB = 1 << 20;

describe('docker', needs('root', 'docker', 'dockerd', 'skopeo'), () => {
  const here = scene('docker');
  let run: Client;
  const docker = async (...args: string[]) => (await run(args)).trim();
  before(async () => {
    run = await startDocker(here);
  });

  /** Builds an image with a layer for each file, and answers the name it was given and its id. */
  const build = async (context: string, name: string, files: readonly string[]) => {
    const lines = ['FROM scratch', ...files.map((file) => `COPY ${file} /${file}`), 'CMD ["/nothing"]'];
    await writeFile(join(context, 'Dockerfile'), lines.join('\n'));
    const reference = `${here.repository(name)}:built`;
    await docker('build', '--tag', reference, context);
    return { reference, id: await docker('image', 'inspect', '--format', '{{.Id}}', reference) };
  };

  /** What the daemon has in a file of an image, by way of a container that is never started. */
  const digestInImage = async (reference: string, file: string) => {
    const container = await docker('create', reference);
    const out = join(await here.fresh('out'), file);
    await docker('cp', `${container}:/${file}`, out);
    await docker('rm', container);
    return hashFile(out);
  };

  /** The digest of a file inside a compressed layer. */
  const digestInTar = async (layer: string, file: string) => {
    const hash = createHash('sha256');
    const tar = client('tar', here.home);
    await tar(['-xzOf', layer, file], { onOutput: (bytes) => hash.update(bytes) });
    return `sha256:${hash.digest('hex')}`;
  };

  const forgetAll = async () => {
    await docker('image', 'prune', '--all', '--force');
    assert.equal(await docker('images', '--all', '--quiet'), '', 'the daemon forgot every image');
  };

  test('docker builds, pushes, and pulls back by tag and by digest', async () => {
    const context = await here.fresh('context');
    for (const [name, bytes] of [['one', 4 * MIB] as const, ['two', 1000] as const]) {
      await writeFile(join(context, name), noise(bytes));
    }
    const { reference, id } = await build(context, 'docker', ['one', 'two']);
    const pushed = await docker('push', reference);
    const digest = /digest: (sha256:[0-9a-f]{64})/.exec(pushed)?.[1];
    assert(digest, `docker push tells a digest: ${pushed}`);

    for (const wanted of [reference, `${reference.replace(/:built$/, '')}@${digest}`]) {
      await forgetAll();
      await docker('pull', wanted);
      assert.equal(await docker('image', 'inspect', '--format', '{{.Id}}', wanted), id);
      for (const file of ['one', 'two']) {
        assert.deepEqual(await digestInImage(wanted, file), await hashFile(join(context, file)));
      }
    }
  });

  test('docker pushes the same layers to a second repository, and pulls them from there', async () => {
    const context = await here.fresh('context');
    await writeFile(join(context, 'shared'), noise(2 * MIB));
    const { reference, id } = await build(context, 'docker-first', ['shared']);
    const second = `${here.repository('docker-second')}:tagged`;
    await docker('push', reference);
    await docker('tag', reference, second);
    const pushed = await docker('push', second);
    assert.match(pushed, /Mounted from/, 'docker mounts the layer from the first repository');
    await forgetAll();
    await docker('pull', second);
    assert.equal(await docker('image', 'inspect', '--format', '{{.Id}}', second), id);
    assert.deepEqual(await digestInImage(second, 'shared'), await hashFile(join(context, 'shared')));
  });

  test('docker pushes all tags of a repository', async () => {
    const context = await here.fresh('context');
    await writeFile(join(context, 'file'), noise(1000));
    const { reference } = await build(context, 'docker-tags', ['file']);
    const repository = reference.replace(/:built$/, '');
    await docker('tag', reference, `${repository}:other`);
    await docker('push', '--all-tags', repository);
    await forgetAll();
    await docker('pull', '--all-tags', repository);
    const tags = await docker('images', '--format', '{{.Tag}}', repository);
    assert.deepEqual(tags.split('\n').sort(), ['built', 'other']);
  });

  test('docker pushes 800 MiB with a layer of 400 MiB; docker and skopeo pull it back', async () => {
    const context = await here.fresh('context');
    const sizes = { large: 400 * MIB, middle: 250 * MIB, small: 150 * MIB };
    const digests = new Map<string, string>();
    for (const [name, bytes] of Object.entries(sizes)) {
      digests.set(name, await writeNoise(join(context, name), bytes));
    }
    const { reference, id } = await build(context, 'docker-big', Object.keys(sizes));
    await docker('push', reference);
    await forgetAll();

    const pulled = await here.fresh('pulled');
    const skopeo = client('skopeo', here.home, ['--insecure-policy']);
    await skopeo(['copy', '--src-tls-verify=false', `docker://${reference}`, `dir:${pulled}`]);
    // docker's manifest is not the layout's kind, so skopeo keeps it as it is in a plain folder.
    const manifest = await readManifest(join(pulled, 'manifest.json'));
    assert.equal(manifest.layers.length, 3);
    const total = manifest.layers.reduce((sum, { size }) => sum + size, 0);
    assert(total >= 700 * MIB, `the layers are ${total} bytes`);
    const names = Object.keys(sizes);
    for (const [index, layer] of manifest.layers.entries()) {
      const file = join(pulled, layer.digest.replace('sha256:', ''));
      assert.deepEqual(await hashFile(file), { digest: layer.digest, size: layer.size });
      const name = names[index] ?? '';
      assert.equal(await digestInTar(file, name), digests.get(name), `the file in the layer of ${name}`);
    }

    await docker('pull', reference);
    assert.equal(await docker('image', 'inspect', '--format', '{{.Id}}', reference), id);
    for (const name of names) {
      assert.equal((await digestInImage(reference, name)).digest, digests.get(name));
    }
  });
});

async function readManifest(path: string): Promise<{ layers: { digest: string; size: number }[] }> {
  return JSON.parse(await readFile(path, 'utf8'));
}
