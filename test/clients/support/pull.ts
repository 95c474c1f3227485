// How each client pulls an image of one manifest, and how every byte that came is compared with the layout that was pushed.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Client, client, needs } from './client.ts';
import { startContainerd } from './containerd.ts';
import { PASSWORD, USER } from './delivery.ts';
import { startDocker } from './docker.ts';
import { contents, digestOf, type Layout } from './layout.ts';
import { podmanStorage, type Scene } from './registry.ts';

export interface Pulled {
  reference: string;
  layout: Layout;
}

export interface PullingClient {
  name: string;
  /** Whether it is there, for the tests' options. */
  options: { skip?: string };
  /** After a download that broke off. Newer podmans and skopeos than Debian 12's resume; of others nothing is told here. */
  afterBreak?: 'resumes' | 'may resume';
  /** Pulls several ranges of a blob at once. */
  inParallel?: true;
  /** Starts what has to run before it can pull. */
  start?(here: Scene): Promise<void>;
  pull(here: Scene, image: Pulled): Promise<void>;
}

/** In the daemon's settings; ranges of this length are pulled in parallel. */
export const PARALLEL_RANGE_BYTES = 1 << 20;

const CREDENTIALS = ['--user', `${USER}:${PASSWORD}`];

/** The clients that pull images. All but ctr find their credentials in docker's configuration. */
export function pullingClients(): PullingClient[] {
  // Each daemon is there when its client's `start` has ended.
  let docker: Client;
  let ctr: Client;
  const usesContainerd = needs('root', 'containerd', 'ctr');
  return [
    {
      name: 'docker',
      afterBreak: 'resumes',
      options: needs('root', 'docker', 'dockerd'),
      start: async (here) => {
        docker = await startDocker(here);
      },
      pull: (here, image) => pullWithDocker(docker, here, image),
    },
    {
      name: 'ctr',
      afterBreak: 'resumes',
      options: usesContainerd,
      start: async (here) => {
        const parallel = [
          'max_concurrent_downloads = 3',
          `concurrent_layer_fetch_buffer = ${PARALLEL_RANGE_BYTES}`,
        ];
        ctr = await startContainerd(here, parallel);
      },
      pull: (here, image) => pullWithCtr(ctr, here, image, ['content', 'fetch']),
    },
    {
      name: 'ctr, ranges in parallel',
      inParallel: true,
      options: usesContainerd,
      // For all platforms at once it unpacks nothing. It pulls in the daemon, and that takes the settings above.
      pull: (here, image) => pullWithCtr(ctr, here, image, ['images', 'pull']),
    },
    {
      name: 'podman',
      afterBreak: 'may resume',
      options: needs('root', 'podman'),
      pull: pullWithPodman,
    },
    {
      name: 'skopeo',
      afterBreak: 'may resume',
      options: needs('skopeo'),
      pull: intoLayout('skopeo', (reference, to) => [
        ...['--insecure-policy', 'copy', '--src-tls-verify=false'],
        ...[`docker://${reference}`, `oci:${to}:latest`],
      ]),
    },
    {
      name: 'crane',
      options: needs('crane'),
      pull: intoLayout('crane', (reference, to) => ['pull', '--insecure', '--format', 'oci', reference, to]),
    },
    {
      name: 'oras',
      options: needs('oras'),
      pull: intoLayout('oras', (reference, to) => [
        ...['copy', '--from-plain-http', reference],
        ...['--to-oci-layout', `${to}:latest`],
      ]),
    },
    {
      name: 'regctl',
      afterBreak: 'resumes',
      options: needs('regctl'),
      pull: async (here, image) => {
        const host = image.reference.split('/')[0] ?? '';
        await client('regctl', here.home)(['registry', 'set', '--skip-check', '--tls', 'disabled', host]);
        await intoLayout('regctl', (reference, to) => ['image', 'copy', reference, `ocidir://${to}:latest`])(
          here,
          image,
        );
      },
    },
  ];
}

function intoLayout(name: string, args: (reference: string, to: string) => string[]): PullingClient['pull'] {
  return async (here, { reference, layout }) => {
    const pulled = await here.fresh('pulled');
    await client(name, here.home)(args(reference, pulled));
    assert.deepEqual(await contents(pulled), await contents(layout.path));
  };
}

async function pullWithCtr(
  ctr: Client,
  here: Scene,
  { reference, layout }: Pulled,
  how: readonly string[],
): Promise<void> {
  await ctr([...how, '--plain-http', '--all-platforms', ...CREDENTIALS, reference]);
  const exported = await here.fresh('exported');
  await ctr(['images', 'export', '--local', '--all-platforms', `${exported}.tar`, reference]);
  await client('tar', here.home)(['-xf', `${exported}.tar`, '-C', exported]);
  assert.deepEqual(await contents(exported), await contents(layout.path));
  await ctr(['images', 'rm', '--sync', reference]);
}

async function pullWithDocker(docker: Client, here: Scene, { reference, layout }: Pulled): Promise<void> {
  await docker(['pull', reference]);
  const container = (await docker(['create', reference])).trim();
  const files = await here.fresh('files');
  await docker(['cp', `${container}:/.`, files]);
  await docker(['rm', container]);
  await docker(['rmi', reference]);
  await assertFiles(files, layout);
}

async function pullWithPodman(here: Scene, { reference, layout }: Pulled): Promise<void> {
  const podman = client('podman', here.home, [...podmanStorage(here), '--cgroup-manager', 'cgroupfs']);
  await podman(['pull', '--tls-verify=false', reference]);
  await assertFiles((await podman(['image', 'mount', reference])).trim(), layout);
  await podman(['image', 'umount', reference]);
  await podman(['rmi', reference]);
}

export async function assertFiles(folder: string, { files }: Layout): Promise<void> {
  for (const [name, bytes] of files) {
    assert.equal(digestOf(await readFile(join(folder, name))), digestOf(bytes), `the file ${name}`);
  }
}
