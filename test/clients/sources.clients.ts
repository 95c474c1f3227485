// The stores of images that `longshore push` reads: docker, podman and containerd, each a real one.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, statfs, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { before, describe, test } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import { openSource } from '../../cli/transfer/open-source.ts';
import type { SourceOptions } from '../../cli/transfer/source.ts';
import { classicEntries, type Given, layerTar, readSource, sha256 } from '../transfer/support/images.ts';
import { archive } from '../transfer/support/tar.ts';
import { type Client, client, environment, located, needs } from './support/client.ts';
import { startContainerdAt } from './support/containerd.ts';
import { startDaemon } from './support/daemon.ts';
import { startDocker } from './support/docker.ts';
import { blobPath, noise, writeLayout } from './support/layout.ts';
import { podmanStorage, type Scene, scene } from './support/registry.ts';

async function read(image: string, options: Partial<SourceOptions>): Promise<Given> {
  const source = await openSource(image, { compression: 'gzip', report: () => {}, env: {}, ...options });
  try {
    return await readSource(source);
  } finally {
    await source[Symbol.asyncDispose]();
  }
}

/** The layers that the image's config states are those that were given. */
function assertWhole({ image, blobs }: Given, layers: number): void {
  const config = JSON.parse(String(blobs.get(image.config.digest))) as { rootfs: { diff_ids: string[] } };
  const diffIds = image.layers.map(
    ({ digest }) => `sha256:${sha256(gunzipSync(blobs.get(digest) ?? Buffer.alloc(0)))}`,
  );
  assert.deepEqual(diffIds, config.rootfs.diff_ids);
  assert.equal(diffIds.length, layers);
}

async function writeContext(here: Scene): Promise<string> {
  const context = await here.fresh('context');
  await writeFile(join(context, 'one'), noise(4_000_000));
  await writeFile(join(context, 'two'), noise(1000));
  await writeFile(
    join(context, 'Dockerfile'),
    'FROM scratch\nCOPY one /one\nCOPY two /two\nCOPY one /three\n',
  );
  return context;
}

describe('a source in docker', needs('root', 'docker', 'dockerd'), () => {
  const here = scene('docker-source', null);
  let docker: Client;
  let env: NodeJS.ProcessEnv;
  before(async () => {
    docker = await startDocker(here);
    const host = (await docker(['context', 'inspect', '--format', '{{.Endpoints.docker.Host}}'])).trim();
    env = { HOME: here.home, XDG_STATE_HOME: here.path('state'), DOCKER_HOST: host, TMPDIR: here.home };
    await docker(['build', '--tag', 'team/app:1', '--tag', 'team/app:2', await writeContext(here)]);
  });

  test('a source in docker gives an image by its name and by its ID, with the digest of its config', async () => {
    const id = (await docker(['image', 'inspect', '--format', '{{.Id}}', 'team/app:1'])).trim();
    const named = await read('team/app:1', { env });
    assertWhole(named, 3);
    assert.equal(named.image.config.digest, id);
    for (const image of [`docker:${id}`, id.slice(7, 19), 'docker.io/team/app:2']) {
      assert.deepEqual((await read(image, { env })).image, named.image);
    }
  });

  test('a source in docker gives the image of a file that docker save wrote', async () => {
    const path = here.path('saved.tar');
    await docker(['save', '--output', path, 'team/app:1', 'team/app:2']);
    assertWhole(await read(path, { env }), 3);
    assert.deepEqual(
      (await read(`docker-archive:${path}:team/app:2`, { env })).image,
      (await read('team/app:1', { env })).image,
    );
  });

  test('a source in docker says where an image was looked for', async () => {
    await assert.rejects(
      read('team/missing', { env }),
      /team\/missing was not found.*docker \(unix:.*does not have it.*podman/s,
    );
  });
});

describe('a source with a full disk', needs('root', 'mount'), () => {
  const here = scene('full-disk', null);

  test('a source with a full disk names the folder for temporary files', async () => {
    const small = await here.fresh('small');
    const mount = client('mount', here.home);
    await mount(['-t', 'tmpfs', '-o', 'size=1m', 'small', small]);
    here.onClose(async () => void (await client('umount', here.home)([small])));
    const path = here.path('image.tar');
    await writeFile(path, archive(...classicEntries([layerTar(noise(3_000_000))])));
    const full = new RegExp(`folder for temporary files, ${small}, is full.*TMPDIR`, 's');
    await assert.rejects(read(path, { env: { HOME: here.home, TMPDIR: small } }), full);
    await writeFile(`${path}.gz`, gzipSync(await readFile(path)));
    await assert.rejects(read(`${path}.gz`, { env: { HOME: here.home, TMPDIR: small } }), full);
    // Nothing is left, and the disk has its space again.
    assert.deepEqual(await readdir(small), []);
    assert.equal((await statfs(small)).bfree, (await statfs(small)).blocks);
  });
});

describe('a source in podman', needs('root', 'podman'), () => {
  const here = scene('podman-source', null);
  let env: NodeJS.ProcessEnv;
  before(async () => {
    const sockets = await mkdtemp('/tmp/longshore-');
    here.onClose(() => rm(sockets, { recursive: true, force: true }));
    const socket = join(sockets, 'podman.sock');
    const podman = client('podman', here.home, [...podmanStorage(here), '--cgroup-manager', 'cgroupfs']);
    await podman([
      'build',
      '--isolation',
      'chroot',
      '--layers',
      '-t',
      'team/app:1',
      await writeContext(here),
    ]);
    const daemon = await startDaemon({
      program: located('podman'),
      args: [...podmanStorage(here), 'system', 'service', '--time', '0', `unix://${socket}`],
      env: environment(here.home),
      cwd: here.home,
      ready: () => existsSync(socket),
    });
    here.onClose(() => daemon.stop());
    env = {
      HOME: here.home,
      XDG_STATE_HOME: here.path('state'),
      CONTAINER_HOST: `unix://${socket}`,
      DOCKER_HOST: `unix://${join(sockets, 'docker.sock')}`,
      TMPDIR: here.home,
    };
  });

  test('a source in podman gives an image, also where docker is asked first', async () => {
    const found = await read('podman:team/app:1', { env });
    assertWhole(found, 3);
    assert.deepEqual((await read('localhost/team/app:1', { env })).image, found.image);
  });
});

describe('a source in containerd', needs('root', 'containerd', 'ctr'), () => {
  const here = scene('containerd-source', null);
  let ctr: Client;
  let env: NodeJS.ProcessEnv;
  before(async () => {
    const containerd = await startContainerdAt(here);
    const { socket } = containerd;
    ctr = containerd.ctr;
    env = { PATH: dirname(located('ctr')), CONTAINERD_ADDRESS: socket, HOME: here.home, TMPDIR: here.home };
  });

  const importLayout = async (name: string, architectures: string[], flags: string[]) => {
    const layout = await writeLayout(await here.fresh('layout'), { architectures });
    await client('tar', here.home)(['-cf', `${layout.path}.tar`, '-C', layout.path, '.']);
    await ctr(['images', 'import', ...flags, '--no-unpack', '--base-name', name, `${layout.path}.tar`]);
    return layout;
  };

  test('a source in containerd keeps the digests of an index with two platforms', async () => {
    const layout = await importLayout('example.com/app', ['amd64', 'arm64'], ['--all-platforms']);
    const found = await read('containerd:example.com/app:latest', { env });
    assert.equal(found.manifests.at(-1)?.descriptor.digest, layout.root.digest);
    assert.equal(found.manifests.length, 3);
    const [one] = (await read('containerd:example.com/app:latest', { env, platform: 'linux/arm64' }))
      .manifests;
    assert.equal(one?.descriptor.digest, layout.manifests[1]?.digest);
  });

  test('a source in containerd gives the only platform that is here', async () => {
    const layout = await importLayout('example.com/part', ['amd64', 'arm64'], ['--all-platforms']);
    const other = JSON.parse(
      await readFile(blobPath(layout.path, layout.manifests[1]?.digest ?? ''), 'utf8'),
    ) as {
      layers: { digest: string }[];
    };
    for (const { digest } of other.layers) await ctr(['content', 'rm', digest]);
    await ctr(['content', 'rm', layout.manifests[1]?.digest ?? '']);
    const messages: string[] = [];
    const report = (message: string) => void messages.push(message);
    const found = await read('containerd:example.com/part:latest', { env, report });
    assert.deepEqual(
      found.manifests.map(({ descriptor }) => descriptor.digest),
      [layout.manifests[0]?.digest],
    );
    assert.match(messages.join('\n'), /Of the 2 platforms.*only linux\/amd64 is here/);
  });

  test('a source in containerd says what ctr said of an image that is not there', async () => {
    await assert.rejects(
      read('containerd:example.com/missing:1', { env }),
      /ctr could not export.*not found.*CONTAINERD_NAMESPACE/s,
    );
  });
});
