// A shorter round against `npm run dev`: one client of each way to push, with the blobs in the R2 simulator.
// What docker does there is what skopeo does: one PATCH that tells no digest, then an empty PUT.
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { clientPackage } from '../../deploy/client-package.ts';
import { client, needs } from './support/client.ts';
import { startDevelopment } from './support/development.ts';
import { contents, digestOf, hashFile, noise, writeLayout } from './support/layout.ts';
import { scene } from './support/registry.ts';

const MIB = 1 << 20;

describe('npm run dev', needs('skopeo', 'crane', 'oras', 'helm', 'regctl'), () => {
  const here = scene('dev', startDevelopment);
  const run = (name: string, ...args: string[]) => client(name, here.home)(args);

  test('the client that the registry serves is the one of the sources', async () => {
    const served = await fetch(`${here.url}/cli.tgz`);
    assert.equal(served.status, 200);
    assert.deepEqual(new Uint8Array(await served.arrayBuffer()), new Uint8Array(clientPackage()));
  });

  test('skopeo copies an index of two platforms there and back', async () => {
    const layout = await writeLayout(await here.fresh('pushed'), { architectures: ['amd64', 'arm64'] });
    const pulled = await here.fresh('pulled');
    const remote = `docker://${here.repository('skopeo')}:latest`;
    const copy = ['--insecure-policy', 'copy', '--all'];
    await run('skopeo', ...copy, '--dest-tls-verify=false', `oci:${layout.path}:latest`, remote);
    await run('skopeo', ...copy, '--src-tls-verify=false', remote, `oci:${pulled}:latest`);
    assert.deepEqual(await contents(pulled), await contents(layout.path));
  });

  // Long enough to become several parts of a multipart upload, whose last one is shorter.
  test('crane pushes a layer of 70 MiB and pulls it back', async () => {
    const layout = await writeLayout(await here.fresh('pushed'), { layerBytes: [70 * MIB, 5] });
    const pulled = await here.fresh('pulled');
    const reference = `${here.repository('crane')}:latest`;
    await run('crane', 'push', '--insecure', layout.path, reference);
    await run('crane', 'pull', '--insecure', '--format', 'oci', reference, pulled);
    assert.deepEqual(await contents(pulled), await contents(layout.path));
    assert.equal((await run('crane', 'digest', '--insecure', reference)).trim(), layout.root.digest);
  });

  test('regctl pushes a blob in chunks and gets it back', async () => {
    const chunks = ['--blob-max', '100000', '--blob-chunk', `${MIB}`];
    await run('regctl', 'registry', 'set', '--skip-check', '--tls', 'disabled', ...chunks, here.host);
    const repository = here.repository('regctl');
    const content = noise(40 * MIB + 1);
    const digest = (
      await client('regctl', here.home)(['blob', 'put', repository], { input: content })
    ).trim();
    assert.equal(digest, digestOf(content));
    const bytes: Uint8Array[] = [];
    const get = client('regctl', here.home, ['blob', 'get', repository, digest]);
    await get([], { onOutput: (some) => bytes.push(some) });
    assert.equal(digestOf(Buffer.concat(bytes)), digest);
  });

  test('oras pushes an artifact, attaches a referrer, and discovers it', async () => {
    const folder = await here.fresh('files');
    await writeFile(join(folder, 'file'), noise(100_000));
    const oras = (...args: string[]) => client('oras', here.home)([...args, '--plain-http'], { cwd: folder });
    const reference = `${here.repository('oras')}:v1`;
    await oras('push', reference, 'file');
    await oras('attach', '--artifact-type', 'application/vnd.example.sbom', reference, 'file');
    const api = ['--distribution-spec', 'v1.1-referrers-api'];
    const found: { referrers: { artifactType: string; reference: string }[] } = JSON.parse(
      await oras('discover', '--format', 'json', ...api, reference),
    );
    assert.deepEqual(
      found.referrers.map(({ artifactType }) => artifactType),
      ['application/vnd.example.sbom'],
    );
    for (const wanted of [reference, ...found.referrers.map((referrer) => referrer.reference)]) {
      const pulled = await here.fresh('pulled');
      await oras('pull', '--output', pulled, wanted);
      assert.deepEqual(await hashFile(join(pulled, 'file')), await hashFile(join(folder, 'file')));
    }
  });

  test('helm pushes a chart and pulls it back', async () => {
    const folder = join(await here.fresh('chart'), 'harbour');
    await mkdir(folder);
    await writeFile(join(folder, 'Chart.yaml'), 'apiVersion: v2\nname: harbour\nversion: 0.1.0\n');
    const [packed, pulled] = [await here.fresh('packed'), await here.fresh('pulled')];
    await run('helm', 'package', folder, '--destination', packed);
    const repository = `oci://${here.repository('helm')}`;
    await run('helm', 'push', '--plain-http', join(packed, 'harbour-0.1.0.tgz'), repository);
    const chart = `${repository}/harbour`;
    await run('helm', 'pull', chart, '--version', '0.1.0', '--plain-http', '--destination', pulled);
    const name = 'harbour-0.1.0.tgz';
    assert.deepEqual(await hashFile(join(pulled, name)), await hashFile(join(packed, name)));
  });
});
