// crane pushes and pulls layouts, appends a layer on the registry's side, builds an index, and uses the whole of the API:
// the catalog, the tags, copying and deleting.
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { client, needs } from './support/client.ts';
import { contents, digestOf, noise, writeLayout } from './support/layout.ts';
import { scene } from './support/registry.ts';

describe('crane', needs('crane'), () => {
  const here = scene('crane');
  const crane = (...args: string[]) => client('crane', here.home, ['--insecure'])(args);
  const lines = (text: string) => text.split('\n').filter((line) => line !== '');

  for (const { name, architectures } of [
    { name: 'one manifest', architectures: ['amd64'] },
    { name: 'an index of two platforms', architectures: ['amd64', 's390x'] },
  ]) {
    test(`crane pushes and pulls a layout with ${name}`, async () => {
      const layout = await writeLayout(await here.fresh('pushed'), { architectures });
      const pulled = await here.fresh('pulled');
      const reference = `${here.repository('crane')}:latest`;
      await crane('push', '--index', layout.path, reference);
      await crane('pull', '--format', 'oci', reference, pulled);

      // crane puts the layout's own index around what it pushes, and one more when it pulls.
      const pushed = await contents(layout.path);
      const back = await contents(pulled);
      assert.deepEqual(
        pushed.filter((line) => !back.includes(line)),
        [],
      );
      assert.equal(digestOf(await crane('manifest', reference)), (await crane('digest', reference)).trim());
    });
  }

  test('crane reads a layer by its digest, byte for byte', async () => {
    const layout = await writeLayout(await here.fresh('pushed'), { layerBytes: [3_000_000] });
    const repository = here.repository('crane-blob');
    await crane('push', layout.path, `${repository}:latest`);
    const manifest: { layers: { digest: string }[] } = JSON.parse(
      await crane('manifest', `${repository}:latest`),
    );
    assert.equal(manifest.layers.length, 1);
    for (const { digest } of manifest.layers) {
      const bytes: Uint8Array[] = [];
      await client('crane', here.home)(['blob', '--insecure', `${repository}@${digest}`], {
        onOutput: (some) => bytes.push(some),
      });
      assert.equal(digestOf(Buffer.concat(bytes)), digest);
    }
  });

  test('crane appends a layer to what is there and exports the files of all', async () => {
    const layout = await writeLayout(await here.fresh('pushed'));
    const repository = here.repository('crane-append');
    await crane('push', layout.path, `${repository}:base`);
    const added = await here.fresh('added');
    const content = noise(20_000);
    await writeFile(`${added}/added`, content);
    await client('tar', here.home)(['-cf', `${added}.tar`, '-C', added, 'added']);
    await crane('append', '-b', `${repository}:base`, '-f', `${added}.tar`, '-t', `${repository}:more`);

    const out = await here.fresh('out');
    await crane('export', `${repository}:more`, `${out}.tar`);
    for (const [name, wanted] of [...layout.files, ['added', content] as const]) {
      const bytes: Uint8Array[] = [];
      await client('tar', here.home)(['-xOf', `${out}.tar`, name], { onOutput: (some) => bytes.push(some) });
      assert.equal(digestOf(Buffer.concat(bytes)), digestOf(wanted), `the file ${name}`);
    }
  });

  test('crane makes an index out of two manifests', async () => {
    const repository = here.repository('crane-index');
    const digests: string[] = [];
    for (const architecture of ['amd64', 'arm64']) {
      const layout = await writeLayout(await here.fresh(architecture), { architectures: [architecture] });
      await crane('push', layout.path, `${repository}:${architecture}`);
      digests.push(layout.root.digest);
    }
    await crane(
      'index',
      'append',
      '-m',
      `${repository}:amd64`,
      '-m',
      `${repository}:arm64`,
      '-t',
      `${repository}:all`,
    );
    const index: { manifests: { digest: string }[] } = JSON.parse(
      await crane('manifest', `${repository}:all`),
    );
    assert.deepEqual(
      index.manifests.map(({ digest }) => digest),
      digests,
    );
    const arm = await crane('digest', '--platform', 'linux/arm64', `${repository}:all`);
    assert.equal(arm.trim(), digests[1]);
    await crane('validate', '--remote', `${repository}:all`);
  });

  test('crane copies, tags, lists the repositories and the tags, and deletes', async () => {
    const layout = await writeLayout(await here.fresh('pushed'));
    const [from, to] = [here.repository('crane-from'), here.repository('crane-to')];
    await crane('push', layout.path, `${from}:one`);
    await crane('copy', `${from}:one`, `${to}:one`);
    await crane('tag', `${to}:one`, 'two');
    assert.deepEqual(lines(await crane('ls', to)), ['one', 'two']);
    assert.equal((await crane('digest', `${to}:two`)).trim(), layout.root.digest);

    const repositories = lines(await crane('catalog', here.host));
    for (const wanted of [from, to]) {
      assert(repositories.includes(wanted.slice(here.host.length + 1)), `${wanted} is not in the catalog`);
    }
    await crane('delete', `${to}@${layout.root.digest}`);
    await assert.rejects(crane('manifest', `${to}:two`), /MANIFEST_UNKNOWN/);
    assert.deepEqual(lines(await crane('ls', to)), []);
    await crane('validate', '--remote', `${from}:one`);
  });
});
