// regctl, told to push blobs in chunks: layouts there and back, tags deleted one by one, artifacts and their referrers,
// copies between repositories, and contents that are addressed by sha512.
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { client, needs } from './support/client.ts';
import { contents, digestOf, hashFile, noise, writeLayout } from './support/layout.ts';
import { scene } from './support/registry.ts';

const MIB = 1 << 20;

describe('regctl', needs('regctl'), () => {
  const here = scene('regctl');
  const regctl = async (...args: string[]) => (await client('regctl', here.home)(args)).trim();
  const lines = (text: string) => text.split('\n').filter((line) => line !== '');
  before(async () => {
    // Every blob over 100 kB goes in chunks of 1 MiB, unless the registry asks for longer ones.
    const chunks = ['--blob-max', '100000', '--blob-chunk', `${MIB}`];
    await regctl('registry', 'set', '--skip-check', '--tls', 'disabled', ...chunks, here.host);
  });

  for (const { name, architectures, layerBytes } of [
    // One chunk of 32 MiB and the rest of it, whichever of the two lengths the registry makes regctl use.
    { name: 'layers of many chunks', architectures: ['amd64'], layerBytes: [40 * MIB + 1, 3 * MIB] },
    { name: 'layers of one short chunk', architectures: ['amd64', 'arm64'], layerBytes: [200_000, 10] },
  ]) {
    test(`regctl copies a layout with ${name} there and back`, async () => {
      const layout = await writeLayout(await here.fresh('pushed'), { architectures, layerBytes });
      const pulled = await here.fresh('pulled');
      const reference = `${here.repository('regctl')}:latest`;
      await regctl('image', 'copy', `ocidir://${layout.path}:latest`, reference);
      await regctl('image', 'copy', reference, `ocidir://${pulled}:latest`);
      assert.deepEqual(await contents(pulled), await contents(layout.path));
    });
  }

  test('regctl pushes a blob from a pipe in chunks and gets it back', async () => {
    const repository = here.repository('regctl-blob');
    const content = noise(65 * MIB + 3);
    const trace: Uint8Array[] = [];
    const put = await client('regctl', here.home)(['--verbosity', 'trace', 'blob', 'put', repository], {
      input: content,
      onError: (some) => trace.push(some),
    });
    assert.equal(put.trim(), digestOf(content));
    // Chunks are what this client is here for. The registry may ask for 32 MiB each: then there are three.
    const patches =
      Buffer.concat(trace)
        .toString()
        .match(/req-method=PATCH .*Content-Range/g) ?? [];
    assert(patches.length >= 3, `regctl sent ${patches.length} chunks`);
    const bytes: Uint8Array[] = [];
    const get = client('regctl', here.home, ['blob', 'get', repository, put.trim()]);
    await get([], { onOutput: (some) => bytes.push(some) });
    assert.equal(digestOf(Buffer.concat(bytes)), put.trim());
  });

  test('regctl lists tags, and deletes one tag of two on the same manifest', async () => {
    const layout = await writeLayout(await here.fresh('pushed'));
    const repository = here.repository('regctl-tags');
    for (const tag of ['one', 'two']) {
      await regctl('image', 'copy', `ocidir://${layout.path}:latest`, `${repository}:${tag}`);
    }
    assert.deepEqual(lines(await regctl('tag', 'ls', repository)), ['one', 'two']);
    await regctl('tag', 'delete', `${repository}:one`);
    assert.deepEqual(lines(await regctl('tag', 'ls', repository)), ['two']);
    assert.equal(await regctl('image', 'digest', `${repository}:two`), layout.root.digest);
    await regctl('manifest', 'delete', `${repository}@${layout.root.digest}`);
    await assert.rejects(regctl('image', 'digest', `${repository}:two`), /not found/);
  });

  test('regctl puts an artifact on a manifest, finds it, and copies both together', async () => {
    const layout = await writeLayout(await here.fresh('pushed'));
    const [from, to] = [here.repository('regctl-from'), here.repository('regctl-to')];
    await regctl('image', 'copy', `ocidir://${layout.path}:latest`, `${from}:v1`);
    const folder = await here.fresh('files');
    await writeFile(join(folder, 'note.bin'), noise(300_000));
    const type = 'application/vnd.example.note';
    const put = ['artifact', 'put', '--artifact-type', type, '--subject', `${from}:v1`];
    await regctl(...put, '--file', join(folder, 'note.bin'), '--file-title', '--strip-dirs');

    await regctl('image', 'copy', '--referrers', `${from}:v1`, `${to}:v1`);
    for (const repository of [from, to]) {
      const format = ['--format', '{{range .Descriptors}}{{.ArtifactType}} {{.Digest}}\n{{end}}'];
      const found = lines(await regctl('artifact', 'list', `${repository}:v1`, ...format));
      assert.equal(found.length, 1);
      assert.match(found[0] ?? '', new RegExp(`^${type} sha256:`));
      assert.match(await regctl('artifact', 'tree', `${repository}:v1`), new RegExp(type));
      const out = await here.fresh('out');
      await regctl('artifact', 'get', '--subject', `${repository}:v1`, '--output', out, '--strip-dirs');
      assert.deepEqual(await hashFile(join(out, 'note.bin')), await hashFile(join(folder, 'note.bin')));
    }
  });

  test('regctl copies contents that are addressed by sha512', async () => {
    const layout = await writeLayout(await here.fresh('pushed'), { layerBytes: [2 * MIB, 100] });
    const [changed, pulled] = [await here.fresh('sha512'), await here.fresh('pulled')];
    const mod = ['image', 'mod', '--digest-algo', 'sha512', '--create', `ocidir://${changed}:latest`];
    await regctl(...mod, `ocidir://${layout.path}:latest`);
    const reference = `${here.repository('regctl-sha512')}:latest`;
    await regctl('image', 'copy', `ocidir://${changed}:latest`, reference);
    await regctl('image', 'copy', reference, `ocidir://${pulled}:latest`);
    const back = await contents(pulled);
    assert.deepEqual(back, await contents(changed));
    assert(back.every((line) => line.startsWith('sha512:')));
    const digest = await regctl('image', 'digest', reference);
    assert.match(digest, /^sha512:/);
  });
});
