// skopeo copies layouts into the registry and out of it: one manifest, an index of several platforms, every digest kept.
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { client, needs } from './support/client.ts';
import { contents, digestOf, hashFile, writeLayout } from './support/layout.ts';
import { scene } from './support/registry.ts';

describe('skopeo', needs('skopeo'), () => {
  const here = scene('skopeo');
  const skopeo = (...args: string[]) => client('skopeo', here.home, ['--insecure-policy'])(args);
  const push = (from: string, to: string) => skopeo('copy', '--all', '--dest-tls-verify=false', from, to);
  const pull = (from: string, to: string) => skopeo('copy', '--all', '--src-tls-verify=false', from, to);

  for (const { name, architectures } of [
    { name: 'one manifest', architectures: ['amd64'] },
    { name: 'an index of three platforms', architectures: ['amd64', 'arm64', 'riscv64'] },
  ]) {
    test(`skopeo copies a layout with ${name} there and back`, async () => {
      const layout = await writeLayout(await here.fresh('pushed'), { architectures });
      const pulled = await here.fresh('pulled');
      const remote = `docker://${here.repository('skopeo')}:latest`;
      await push(`oci:${layout.path}:latest`, remote);
      await pull(remote, `oci:${pulled}:latest`);
      assert.deepEqual(await contents(pulled), await contents(layout.path));

      const served = await skopeo('inspect', '--raw', '--tls-verify=false', remote);
      assert.equal(digestOf(served), layout.root.digest);
    });
  }

  test('skopeo copies by digest into a plain folder', async () => {
    const layout = await writeLayout(await here.fresh('pushed'));
    const folder = await here.fresh('folder');
    const repository = here.repository('skopeo-dir');
    await push(`oci:${layout.path}:latest`, `docker://${repository}:latest`);
    await pull(`docker://${repository}@${layout.root.digest}`, `dir:${folder}`);

    assert.equal(digestOf(await readFile(join(folder, 'manifest.json'))), layout.root.digest);
    const blobs = (await readdir(folder)).filter((name) => /^[0-9a-f]{64}$/.test(name));
    const lines: string[] = [];
    for (const name of blobs) {
      const { digest, size } = await hashFile(join(folder, name));
      assert.equal(digest, `sha256:${name}`);
      lines.push(`${digest} ${size}`);
    }
    const manifest = `${layout.root.digest} ${layout.root.size}`;
    assert.deepEqual([...lines, manifest].sort(), await contents(layout.path));

    // And back out of the folder, into another repository: skopeo may ask for a mount of what it knows.
    const second = here.repository('skopeo-again');
    await push(`dir:${folder}`, `docker://${second}:again`);
    const pulled = await here.fresh('pulled');
    await pull(`docker://${second}:again`, `oci:${pulled}:again`);
    assert.deepEqual(await contents(pulled), await contents(layout.path));
  });

  test('skopeo copies from repository to repository, lists the tags, and deletes', async () => {
    const layout = await writeLayout(await here.fresh('pushed'));
    const [from, to] = [here.repository('skopeo-from'), here.repository('skopeo-to')];
    await push(`oci:${layout.path}:latest`, `docker://${from}:one`);
    for (const tag of ['b', 'a']) {
      await skopeo(
        'copy',
        '--src-tls-verify=false',
        '--dest-tls-verify=false',
        `docker://${from}:one`,
        `docker://${to}:${tag}`,
      );
    }
    const tags: { Tags: string[] } = JSON.parse(
      await skopeo('list-tags', '--tls-verify=false', `docker://${to}`),
    );
    assert.deepEqual(tags.Tags, ['a', 'b']);

    await skopeo('delete', '--tls-verify=false', `docker://${to}:a`);
    await assert.rejects(skopeo('inspect', '--tls-verify=false', `docker://${to}:a`), /unknown|not found/i);
    const inspected = await skopeo('inspect', '--raw', '--tls-verify=false', `docker://${from}:one`);
    assert.equal(digestOf(inspected), layout.root.digest, 'a delete in one repository left the other alone');
  });
});
