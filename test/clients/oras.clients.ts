// oras pushes artifacts of files and pulls them back, attaches referrers and discovers them again, copies graphs,
// and works on single blobs and manifests.
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { client, needs } from './support/client.ts';
import { blobPath, contents, digestOf, hashFile, noise, writeLayout } from './support/layout.ts';
import { scene } from './support/registry.ts';

interface Discovered {
  referrers?: ({ digest: string; artifactType: string } & Discovered)[];
}

describe('oras', needs('oras'), () => {
  const here = scene('oras');
  const at = (cwd: string) => {
    const oras = client('oras', here.home);
    return async (...args: string[]) => (await oras([...args, '--plain-http'], { cwd })).trim();
  };
  const oras = (...args: string[]) => at(here.home)(...args);
  const lines = (text: string) => text.split('\n').filter((line) => line !== '');

  /** A folder with files of these sizes, named by them. */
  const files = async (sizes: readonly number[]) => {
    const folder = await here.fresh('files');
    for (const bytes of sizes) await writeFile(join(folder, `${bytes}.bin`), noise(bytes));
    return { folder, names: sizes.map((bytes) => `${bytes}.bin`) };
  };

  const sameFiles = async (from: string, to: string, names: readonly string[]) => {
    for (const name of names) {
      assert.deepEqual(await hashFile(join(to, name)), await hashFile(join(from, name)), name);
    }
  };

  const push = async (folder: string, args: readonly string[]): Promise<string> => {
    const pushed: { digest: string } = JSON.parse(await at(folder)('push', '--format', 'json', ...args));
    return pushed.digest;
  };

  const discover = async (reference: string, ...args: string[]): Promise<Discovered> =>
    JSON.parse(await oras('discover', '--format', 'json', ...args, reference));

  for (const { name, args } of [
    {
      name: 'an artifact with a type and annotations',
      args: ['--artifact-type', 'application/vnd.example.thing', '--annotation', 'org.example.key=väl'],
    },
    { name: 'an artifact in the way of specification 1.0', args: ['--image-spec', 'v1.0'] },
  ]) {
    test(`oras pushes ${name}, and pulls back its files`, async () => {
      // A file of no bytes is an ordinary layer, and the largest is above every limit for small contents.
      const { folder, names } = await files([0, 1, 70_000, 9_000_000]);
      const reference = `${here.repository('oras')}:v1`;
      const digest = await push(folder, [reference, ...names, ...args]);
      assert.equal(await oras('resolve', reference), digest);
      assert.equal(digestOf(await oras('manifest', 'fetch', reference)), digest);

      const pulled = await here.fresh('pulled');
      await oras('pull', '--output', pulled, reference);
      await sameFiles(folder, pulled, names);
    });
  }

  test('oras pushes an artifact with a config file under two tags', async () => {
    const { folder, names } = await files([300]);
    const config = { answer: 42 };
    await writeFile(join(folder, 'config.json'), JSON.stringify(config));
    const repository = here.repository('oras-config');
    const type = 'application/vnd.example.config.v1+json';
    await push(folder, [`${repository}:one,two`, ...names, '--config', `config.json:${type}`]);
    assert.deepEqual(JSON.parse(await oras('manifest', 'fetch-config', `${repository}:two`)), config);
    await oras('tag', `${repository}:one`, 'three');
    assert.deepEqual(lines(await oras('repo', 'tags', repository)), ['one', 'three', 'two']);
    const repositories = lines(await oras('repo', 'ls', here.host));
    assert(repositories.includes(repository.slice(here.host.length + 1)), 'the catalog has the repository');
  });

  for (const { name, args } of [
    { name: 'through the referrers API', args: ['--distribution-spec', 'v1.1-referrers-api'] },
    { name: 'through the referrers tag', args: ['--distribution-spec', 'v1.1-referrers-tag'] },
    { name: 'in the way it chooses itself', args: [] },
  ]) {
    test(`oras attaches referrers and discovers them ${name}`, async () => {
      const { folder, names } = await files([100, 2_000]);
      const [first = '', second = ''] = names;
      const repository = here.repository('oras-attach');
      const reference = `${repository}:subject`;
      await push(folder, [reference, first]);
      const attach = async (subject: string, type: string): Promise<string> => {
        const command = ['attach', '--format', 'json', '--artifact-type', type, ...args, subject, second];
        const attached: { digest: string } = JSON.parse(await at(folder)(...command));
        return attached.digest;
      };
      const signature = await attach(reference, 'application/vnd.example.signature');
      const sbom = await attach(reference, 'application/vnd.example.sbom');
      const onSbom = await attach(`${repository}@${sbom}`, 'application/vnd.example.signature');

      const { referrers = [] } = await discover(reference, ...args);
      assert.deepEqual(referrers.map(({ digest }) => digest).sort(), [signature, sbom].sort());
      const below = referrers.find(({ digest }) => digest === sbom)?.referrers ?? [];
      assert.deepEqual(
        below.map(({ digest }) => digest),
        [onSbom],
      );
      const filtered = await discover(reference, '--artifact-type', 'application/vnd.example.sbom', ...args);
      assert.deepEqual(
        filtered.referrers?.map(({ digest, artifactType }) => [digest, artifactType]),
        [[sbom, 'application/vnd.example.sbom']],
      );

      const pulled = await here.fresh('pulled');
      await oras('pull', '--output', pulled, `${repository}@${sbom}`);
      await sameFiles(folder, pulled, [second]);
    });
  }

  test('oras copies an artifact with all its referrers to another repository and into a layout', async () => {
    const { folder, names } = await files([40_000]);
    const [from, to] = [here.repository('oras-from'), here.repository('oras-to')];
    const subject = await push(folder, [`${from}:v1`, ...names]);
    await at(folder)('attach', '--artifact-type', 'application/vnd.example.sbom', `${from}:v1`, ...names);
    const cp = client('oras', here.home);
    await cp(['cp', '--recursive', '--from-plain-http', '--to-plain-http', `${from}:v1`, `${to}:copied`]);
    assert.equal(await oras('resolve', `${to}:copied`), subject);
    const digests = (found: Discovered) => found.referrers?.map(({ digest }) => digest);
    const referrers = digests(await discover(`${from}:v1`));
    assert.equal(referrers?.length, 1);
    assert.deepEqual(digests(await discover(`${to}:copied`)), referrers);

    const layout = await here.fresh('layout');
    await cp([
      'cp',
      '--recursive',
      '--from-plain-http',
      '--to-oci-layout',
      `${to}:copied`,
      `${layout}:copied`,
    ]);
    const all = await contents(layout);
    for (const digest of [subject, ...(referrers ?? [])]) {
      assert(all.some((line) => line.startsWith(digest)));
    }
  });

  test('oras copies a layout of three platforms there and back', async () => {
    const architectures = ['amd64', 'arm64', 'ppc64le'];
    const layout = await writeLayout(await here.fresh('pushed'), { architectures });
    const pulled = await here.fresh('pulled');
    const reference = `${here.repository('oras-index')}:all`;
    const cp = client('oras', here.home);
    await cp(['cp', '--from-oci-layout', '--to-plain-http', `${layout.path}:latest`, reference]);
    await cp(['cp', '--to-oci-layout', '--from-plain-http', reference, `${pulled}:latest`]);
    assert.deepEqual(await contents(pulled), await contents(layout.path));
    const arm = layout.manifests.find(({ platform }) => platform?.architecture === 'arm64');
    assert.equal(await oras('resolve', '--platform', 'linux/arm64', reference), arm?.digest);
  });

  test('oras makes an index in the registry', async () => {
    const repository = here.repository('oras-index-create');
    const { folder, names } = await files([10]);
    const digests = [];
    for (const tag of ['one', 'two']) {
      digests.push(await push(folder, [`${repository}:${tag}`, ...names, '--annotation', `tag=${tag}`]));
    }
    await oras('manifest', 'index', 'create', `${repository}:both`, 'one', 'two');
    const index: { manifests: { digest: string }[] } = JSON.parse(
      await oras('manifest', 'fetch', `${repository}:both`),
    );
    assert.deepEqual(
      index.manifests.map(({ digest }) => digest),
      digests,
    );
  });

  test('oras pushes, fetches and deletes single blobs and manifests', async () => {
    const layout = await writeLayout(await here.fresh('pushed'));
    const repository = here.repository('oras-single');
    const pushed = await contents(layout.path);
    for (const digest of pushed.map((line) => line.split(' ')[0] ?? '')) {
      if (digest === layout.root.digest) continue;
      await oras('blob', 'push', `${repository}@${digest}`, blobPath(layout.path, digest));
      const fetched = join(await here.fresh('fetched'), 'blob');
      await oras('blob', 'fetch', '--output', fetched, `${repository}@${digest}`);
      assert.equal((await hashFile(fetched)).digest, digest);
    }
    const manifest = blobPath(layout.path, layout.root.digest);
    await oras('manifest', 'push', `${repository}:single`, manifest);
    assert.equal(digestOf(await oras('manifest', 'fetch', `${repository}:single`)), layout.root.digest);

    await oras('manifest', 'delete', '--force', `${repository}@${layout.root.digest}`);
    await assert.rejects(oras('manifest', 'fetch', `${repository}:single`), /not found/);
    const blob = `${repository}@${digestOf('a blob that nothing references')}`;
    const path = join(await here.fresh('blob'), 'blob');
    await writeFile(path, 'a blob that nothing references');
    await oras('blob', 'push', blob, path);
    await oras('blob', 'delete', '--force', blob);
    await assert.rejects(oras('blob', 'fetch', '--descriptor', blob), /not found/);
  });
});
