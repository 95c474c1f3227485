/**
 * Real clients push through `longshore proxy` to a registry behind a wall, and another client pulls from the registry itself. Where
 * the size is not the point, the wall is lowered.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Proxied } from '../cli/support/proxied.ts';
import { startWall, WALL_BYTES, type Wall } from '../support/wall.ts';
import { type Client, client, needs } from './support/client.ts';
import { assertPushed, containerdFamily, type Push } from './support/containerd-family.ts';
import { startDocker } from './support/docker.ts';
import { contents, hashFile, type Layout, noise, writeLayout, writeNoise } from './support/layout.ts';
import { podmanStorage, type Scene, scene } from './support/registry.ts';

const MB = 1_000_000;
const LOW_WALL_BYTES = 2 * MB;
/** Several chunks, one chunk, and next to nothing. */
const LAYERS = [9 * MB, MB, 100];

/** A scene with a wall and a proxy in front of its registry. */
class Passage {
  readonly here: Scene;
  #wall: Wall | null = null;
  #proxied: Proxied | null = null;

  constructor(name: string, wallBytes = LOW_WALL_BYTES) {
    this.here = scene(name);
    before(async () => {
      this.#wall = await startWall(this.here.url, wallBytes);
      this.#proxied = await Proxied.start(this.#wall.url);
    });
    after(async () => {
      await this.#proxied?.[Symbol.asyncDispose]();
      await this.#wall?.[Symbol.asyncDispose]();
    });
  }

  /** `localhost:PORT`, as people write it. */
  get host(): string {
    return new URL(this.#proxied?.proxy.url ?? '').host;
  }

  get lines(): readonly string[] {
    return this.#proxied?.lines ?? [];
  }

  /** Names of a repository: through the proxy, and at the registry. */
  names(name: string): { pushed: string; direct: string } {
    const direct = this.here.repository(name);
    return { direct, pushed: direct.replace(this.here.host, this.host) };
  }

  layout(): Promise<Layout> {
    return this.here.fresh('pushed').then((path) => writeLayout(path, { layerBytes: LAYERS }));
  }

  /** Nothing stays in memory, and every push has a line. */
  assertDone(pushed: string): void {
    assert.equal(this.#proxied?.proxy.uploads.memoryBytes, 0);
    assert.equal(this.#proxied?.proxy.uploads.count, 0);
    const name = pushed.slice(this.host.length + 1);
    assert(
      this.lines.some((line) => line.startsWith(`pushed ${name}:`)),
      this.lines.join('\n'),
    );
  }
}

/** Pulls with skopeo, past the proxy. */
async function pullDirect(here: Scene, reference: string): Promise<string> {
  const pulled = await here.fresh('pulled');
  const skopeo = client('skopeo', here.home, ['--insecure-policy']);
  await skopeo(['copy', '--all', '--src-tls-verify=false', `docker://${reference}`, `oci:${pulled}:latest`]);
  return pulled;
}

describe('layouts through the proxy', needs('skopeo', 'crane', 'oras', 'regctl'), () => {
  const passage = new Passage('proxy-layouts');
  const { here } = passage;
  const run = (name: string, ...args: string[]) => client(name, here.home)(args);
  const pushes: { name: string; push: (layout: Layout, to: string) => Promise<unknown> }[] = [
    {
      name: 'skopeo',
      push: ({ path }, to) =>
        run(
          'skopeo',
          '--insecure-policy',
          'copy',
          '--dest-tls-verify=false',
          `oci:${path}:latest`,
          `docker://${to}`,
        ),
    },
    { name: 'crane', push: ({ path }, to) => run('crane', 'push', path, to) },
    {
      name: 'oras',
      push: ({ path }, to) => run('oras', 'cp', '--from-oci-layout', `${path}:latest`, '--to-plain-http', to),
    },
    {
      name: 'regctl',
      push: async ({ path }, to) => {
        await run('regctl', 'registry', 'set', '--skip-check', '--tls', 'disabled', passage.host);
        await run('regctl', 'image', 'copy', `ocidir://${path}:latest`, to);
      },
    },
    {
      name: 'regctl in chunks of its own',
      push: async ({ path }, to) => {
        const chunks = ['--blob-max', '100000', '--blob-chunk', String(MB)];
        await run('regctl', 'registry', 'set', '--skip-check', '--tls', 'disabled', ...chunks, passage.host);
        await run('regctl', 'image', 'copy', `ocidir://${path}:latest`, to);
      },
    },
  ];
  for (const { name, push } of pushes) {
    it(`through the proxy ${name} pushes, and skopeo pulls the same from the registry`, async () => {
      const layout = await passage.layout();
      const { pushed, direct } = passage.names('layout');
      await push(layout, `${pushed}:v1`);
      const pulled = await contents(await pullDirect(here, `${direct}:v1`));
      for (const line of await contents(layout.path)) assert(pulled.includes(line), line);
      passage.assertDone(pushed);
    });
  }

  it('skopeo pulls through the proxy what it has pushed, and copies it to another repository', async () => {
    const layout = await passage.layout();
    const [one, two] = [passage.names('pull'), passage.names('copy')];
    const skopeo = (...args: string[]) => run('skopeo', '--insecure-policy', 'copy', ...args);
    const plain = ['--src-tls-verify=false', '--dest-tls-verify=false'];
    await skopeo(...plain, `oci:${layout.path}:latest`, `docker://${one.pushed}:v1`);
    await skopeo(...plain, `docker://${one.pushed}:v1`, `docker://${two.pushed}:v1`);
    const pulled = await here.fresh('pulled');
    await skopeo(...plain, `docker://${two.pushed}:v1`, `oci:${pulled}:latest`);
    assert.deepEqual(await contents(pulled), await contents(layout.path));
  });
});

describe('helm through the proxy', needs('helm'), () => {
  const passage = new Passage('proxy-helm');
  const { here } = passage;
  const helm = (...args: string[]) => client('helm', here.home)(args);

  it('helm through the proxy pushes a chart, and pulls it from the registry', async () => {
    const folder = join(await here.fresh('chart'), 'harbour');
    await mkdir(folder);
    await writeFile(join(folder, 'Chart.yaml'), 'apiVersion: v2\nname: harbour\nversion: 1.0.0\n');
    // Over the wall, and below the limit of helm for one file.
    await writeFile(join(folder, 'file.bin'), noise(3 * MB));
    const packed = await here.fresh('packed');
    await helm('package', folder, '--destination', packed);
    const { pushed, direct } = passage.names('helm');
    await helm('push', '--plain-http', join(packed, 'harbour-1.0.0.tgz'), `oci://${pushed}`);
    const pulled = await here.fresh('pulled');
    await helm(
      'pull',
      '--plain-http',
      `oci://${direct}/harbour`,
      '--version',
      '1.0.0',
      '--destination',
      pulled,
    );
    const [one, two] = [join(packed, 'harbour-1.0.0.tgz'), join(pulled, 'harbour-1.0.0.tgz')];
    assert.deepEqual(await hashFile(two), await hashFile(one));
  });
});

describe('podman through the proxy', needs('root', 'podman', 'skopeo'), () => {
  const passage = new Passage('proxy-podman');
  const { here } = passage;
  const podman = (...args: string[]) => {
    return client('podman', here.home, [...podmanStorage(here), '--cgroup-manager', 'cgroupfs'])(args);
  };

  it('podman through the proxy builds and pushes, and skopeo pulls the same from the registry', async () => {
    const context = await here.fresh('context');
    await writeFile(join(context, 'file'), noise(9 * MB));
    await writeFile(join(context, 'Containerfile'), 'FROM scratch\nCOPY file /file\n');
    const { pushed, direct } = passage.names('podman');
    await podman('build', '--isolation', 'chroot', '-t', `${pushed}:v1`, context);
    await podman('push', '--tls-verify=false', `${pushed}:v1`);
    await contents(await pullDirect(here, `${direct}:v1`));
    passage.assertDone(pushed);
  });
});

describe('the containerd family through the proxy', needs('crane'), () => {
  const passage = new Passage('proxy-containerd-family', WALL_BYTES);
  const { here } = passage;
  let image: Layout;
  before(async () => {
    image = await writeLayout(await here.fresh('image'), { layerBytes: [105 * MB, MB, 100] });
  });

  for (const member of containerdFamily()) {
    describe(member.name, member.options, () => {
      let push: Push;
      before(async () => {
        push = await member.start(here);
      });

      it(`pushes, and crane pulls the same from the registry (${member.name})`, async () => {
        const { pushed, direct } = passage.names('family');
        await push(image, `${pushed}:v1`);
        await assertPushed(here, member, image, `${direct}:v1`);
        passage.assertDone(pushed);
      });
    });
  }
});

describe('docker through the proxy', needs('root', 'docker', 'dockerd', 'skopeo'), () => {
  const passage = new Passage('proxy-docker', WALL_BYTES);
  const { here } = passage;
  let docker: Client;
  before(async () => {
    docker = await startDocker(here);
  });

  /** Pushes an image of one file, and returns the digest of the file as skopeo pulls it from the registry. */
  const digestPulled = async (
    name: string,
    make: (reference: string) => Promise<unknown>,
  ): Promise<string> => {
    const { pushed, direct } = passage.names(name);
    await make(`${pushed}:v1`);
    // Without TLS set-up, because the host is localhost.
    await docker(['push', `${pushed}:v1`]);
    passage.assertDone(pushed);
    const pulled = await here.fresh('pulled');
    const skopeo = client('skopeo', here.home, ['--insecure-policy']);
    await skopeo(['copy', '--src-tls-verify=false', `docker://${direct}:v1`, `dir:${pulled}`]);
    const manifest: { layers: { digest: string; size: number }[] } = JSON.parse(
      await readFile(join(pulled, 'manifest.json'), 'utf8'),
    );
    const [layer] = manifest.layers;
    assert(layer);
    const file = join(pulled, layer.digest.replace('sha256:', ''));
    assert.deepEqual(await hashFile(file), { digest: layer.digest, size: layer.size });
    const hash = createHash('sha256');
    const tar = client('tar', here.home);
    await tar(['-xzOf', file, 'file'], { onOutput: (bytes) => hash.update(bytes) });
    return `sha256:${hash.digest('hex')}`;
  };

  it('docker through the proxy pushes a small image, and skopeo pulls the same from the registry', async () => {
    const context = await here.fresh('context');
    await writeFile(join(context, 'file'), noise(5 * MB));
    await writeFile(join(context, 'Dockerfile'), 'FROM scratch\nCOPY file /file\n');
    const { digest } = await hashFile(join(context, 'file'));
    const pulled = await digestPulled('docker', (reference) =>
      docker(['build', '--tag', reference, context]),
    );
    assert.equal(pulled, digest);
  });

  it('docker through the proxy pushes a layer of 1.5 GB through the wall, and skopeo pulls the same from the registry', async () => {
    const folder = await here.fresh('files');
    const digest = await writeNoise(join(folder, 'file'), 1_500 * MB);
    const archive = join(folder, 'files.tar');
    await client('tar', here.home)(['-cf', archive, '-C', folder, 'file']);
    // A build would copy and hash the file more often.
    const pulled = await digestPulled('docker-large', (reference) => docker(['import', archive, reference]));
    assert.equal(pulled, digest);
  });
});
