// podman and buildah build from nothing, push, forget, pull back, and read the files in the layers that came back.
// podman also makes an index of two platforms.
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { client, needs } from './support/client.ts';
import { contents, hashFile, noise, writeLayout } from './support/layout.ts';
import { podmanStorage, scene } from './support/registry.ts';

describe('podman', needs('root', 'podman', 'skopeo'), () => {
  const here = scene('podman');
  const podman = async (...args: string[]) =>
    (
      await client('podman', here.home, [...podmanStorage(here), '--cgroup-manager', 'cgroupfs'])(args)
    ).trim();

  test('podman builds, pushes, and pulls back the same files', async () => {
    const context = await here.fresh('context');
    await writeFile(join(context, 'file'), noise(5_000_000));
    await writeFile(join(context, 'Containerfile'), 'FROM scratch\nCOPY file /file\nCMD ["/file"]\n');
    const reference = `${here.repository('podman')}:built`;
    await podman('build', '--isolation', 'chroot', '-t', reference, context);
    const built = await podman('image', 'inspect', '--format', '{{.Id}}', reference);
    await podman('push', '--tls-verify=false', '--digestfile', here.path('digest'), reference);
    await podman('rmi', '--all', '--force');
    await assert.rejects(podman('image', 'inspect', reference), /not known|no such image/i);

    await podman('pull', '--tls-verify=false', reference);
    assert.equal(await podman('image', 'inspect', '--format', '{{.Id}}', reference), built);
    const mounted = await podman('image', 'mount', reference);
    assert.deepEqual(await hashFile(join(mounted, 'file')), await hashFile(join(context, 'file')));
    await podman('image', 'umount', reference);
  });

  test('podman pushes a layout, and an index of two platforms', async () => {
    const repository = here.repository('podman-index');
    const layout = await writeLayout(await here.fresh('pushed'), { architectures: ['amd64', 'arm64'] });
    await podman('manifest', 'create', 'both', '--all', `oci:${layout.path}:latest`);
    await podman('manifest', 'push', '--all', '--tls-verify=false', 'both', `docker://${repository}:both`);

    const pulled = await here.fresh('pulled');
    await client('skopeo', here.home, ['--insecure-policy'])([
      'copy',
      '--all',
      '--src-tls-verify=false',
      `docker://${repository}:both`,
      `oci:${pulled}:both`,
    ]);
    // podman writes the index anew, in its own way; what the index names is what was pushed.
    const back = await contents(pulled);
    const pushed = (await contents(layout.path)).filter((line) => !line.startsWith(layout.root.digest));
    assert.deepEqual(
      pushed.filter((line) => !back.includes(line)),
      [],
    );
    assert.equal(back.length, pushed.length + 1);
  });
});

describe('buildah', needs('root', 'buildah'), () => {
  const here = scene('buildah');
  const buildah = async (...args: string[]) =>
    (
      await client('buildah', here.home, podmanStorage(here))(args, { env: { BUILDAH_ISOLATION: 'chroot' } })
    ).trim();

  test('buildah commits a container, pushes it, and pulls back the same files', async () => {
    const folder = await here.fresh('files');
    await mkdir(join(folder, 'deep'));
    await writeFile(join(folder, 'deep', 'file'), noise(3_000_000));
    const reference = `${here.repository('buildah')}:committed`;
    const container = await buildah('from', 'scratch');
    await buildah('copy', container, folder, '/files');
    await buildah('commit', '--rm', container, reference);
    await buildah('push', '--tls-verify=false', reference);
    await buildah('rmi', '--all', '--force');
    assert.equal(await buildah('images', '--quiet'), '');

    const back = await buildah('from', '--tls-verify=false', '--pull-always', reference);
    const mounted = await buildah('mount', back);
    assert.deepEqual(
      await hashFile(join(mounted, 'files', 'deep', 'file')),
      await hashFile(join(folder, 'deep', 'file')),
    );
    await buildah('umount', back);
    await buildah('rm', back);
  });
});
