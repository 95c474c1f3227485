// The clients whose pusher is containerd's: ctr, nerdctl, Docker with containerd's store, and BuildKit. Each sends a layer in one PUT.
import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startBuildkit } from './buildkit.ts';
import { type Client, client, needs } from './client.ts';
import { startContainerd, startContainerdAt } from './containerd.ts';
import { startDockerOnContainerd } from './docker.ts';
import { blobPath, contents, type Layout } from './layout.ts';
import { assertFiles } from './pull.ts';
import type { Scene } from './registry.ts';

export interface FamilyMember {
  name: string;
  /** Whether it is there, for the tests' options. */
  options: { skip?: string };
  /** BuildKit pushes what it builds: the same files in layers of its own. */
  keepsDigests: boolean;
  start(here: Scene): Promise<Push>;
}

/** `credentials` are `USER:PASSWORD`. All but ctr find them in docker's configuration, where `logIn` writes them. */
export type Push = (image: Layout, reference: string, credentials?: string) => Promise<void>;

export function containerdFamily(): FamilyMember[] {
  const withContainerd = ['root', 'containerd', 'ctr'];
  const pushWithCtr =
    (more: readonly string[]) =>
    async (here: Scene): Promise<Push> => {
      const ctr = await startContainerd(here);
      return async (image, reference, credentials) => {
        await ctr(['images', 'import', '--no-unpack', await archived(here, image, reference)]);
        const user = credentials === undefined ? [] : ['--user', credentials];
        await ctr(['images', 'push', '--plain-http', ...user, ...more, reference]);
      };
    };
  return [
    {
      name: 'ctr, by the daemon',
      options: needs(...withContainerd),
      keepsDigests: true,
      start: pushWithCtr([]),
    },
    { name: 'ctr', options: needs(...withContainerd), keepsDigests: true, start: pushWithCtr(['--local']) },
    {
      name: 'nerdctl',
      options: needs(...withContainerd, 'nerdctl'),
      keepsDigests: true,
      start: async (here) => {
        const { ctr, socket } = await startContainerdAt(here);
        const nerdctl = client('nerdctl', here.home, [
          ...['--address', socket],
          ...['--data-root', here.path('nerdctl')],
        ]);
        return async (image, reference) => {
          // `nerdctl load` unpacks, which takes a snapshotter that this machine may not have.
          await ctr(['images', 'import', '--no-unpack', await archived(here, image, reference)]);
          await nerdctl(['push', '--insecure-registry', reference]);
        };
      },
    },
    {
      name: 'Docker 29',
      options: needs(...withContainerd, 'docker', 'dockerd-29'),
      keepsDigests: true,
      start: async (here) => {
        const docker = await startDockerOnContainerd(here);
        return async (image, reference) => {
          await docker(['load', '--input', await archived(here, image, reference)]);
          await docker(['push', reference]);
        };
      },
    },
    {
      name: 'BuildKit',
      options: needs('root', 'runc', 'buildkitd', 'buildctl'),
      keepsDigests: false,
      start: async (here) => {
        const buildctl = await startBuildkit(here);
        return (image, reference) => build(buildctl, here, image, reference);
      },
    },
  ];
}

/** Docker's configuration in the home of the clients. */
export async function logIn(here: Scene, host: string, credentials: string): Promise<void> {
  const auths = { [host]: { auth: Buffer.from(credentials).toString('base64') } };
  await mkdir(join(here.home, '.docker'), { recursive: true });
  await writeFile(join(here.home, '.docker', 'config.json'), JSON.stringify({ auths }));
}

/** Pulls with crane, and compares what came with what was pushed. */
export async function assertPushed(
  here: Scene,
  { keepsDigests }: Pick<FamilyMember, 'keepsDigests'>,
  image: Layout,
  reference: string,
): Promise<void> {
  const pulled = await here.fresh('pulled');
  await client('crane', here.home)(['pull', '--insecure', '--format', 'oci', reference, pulled]);
  const lines = await contents(pulled);
  if (keepsDigests) return assert.deepEqual(lines, await contents(image.path));
  const files = await here.fresh('files');
  for (const digest of await layersOf(pulled)) {
    await client('tar', here.home)(['-xf', blobPath(pulled, digest), '-C', files]);
  }
  await assertFiles(files, image);
}

async function layersOf(path: string): Promise<string[]> {
  const parsed = async (file: string): Promise<{ layers?: Named[]; manifests?: Named[] }> =>
    JSON.parse(await readFile(file, 'utf8'));
  const { manifests: [root] = [] } = await parsed(join(path, 'index.json'));
  const { layers = [] } = await parsed(blobPath(path, root?.digest ?? ''));
  return layers.map(({ digest }) => digest);
}

interface Named {
  digest: string;
}

/** A tar file of the layout, in which the image has its name. */
async function archived(here: Scene, { path, root }: Layout, reference: string): Promise<string> {
  const annotations = {
    'io.containerd.image.name': reference,
    'org.opencontainers.image.ref.name': reference.slice(reference.lastIndexOf(':') + 1),
  };
  const index = { schemaVersion: 2, manifests: [{ ...root, annotations }] };
  await writeFile(join(path, 'index.json'), JSON.stringify(index));
  const archive = `${await here.fresh('archive')}/image.tar`;
  await client('tar', here.home)(['-cf', archive, '-C', path, '.']);
  return archive;
}

async function build(buildctl: Client, here: Scene, { files }: Layout, reference: string): Promise<void> {
  const context = await here.fresh('context');
  for (const [name, bytes] of files) await writeFile(join(context, name), bytes);
  const copies = [...files.keys()].map((name) => `COPY ${name} /${name}`);
  await writeFile(join(context, 'Dockerfile'), ['FROM scratch', ...copies].join('\n'));
  await buildctl([
    ...['build', '--frontend', 'dockerfile.v0', '--progress', 'plain'],
    ...['--local', `context=${context}`, '--local', `dockerfile=${context}`],
    // Noise takes long to compress.
    ...['--output', `type=image,name=${reference},push=true,compression=uncompressed`],
  ]);
}
