// containerd's own client, ctr, with a containerd of the suite's own: it imports a layout, pushes it, forgets it, fetches it
// back, and exports what came. This is the way that Kubernetes, nerdctl and newer Dockers push and pull.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { type Client, client, environment, located, needs } from './support/client.ts';
import { startDaemon } from './support/daemon.ts';
import { contents, writeLayout } from './support/layout.ts';
import { type Scene, scene } from './support/registry.ts';

describe('ctr', needs('root', 'containerd', 'ctr'), () => {
  const here = scene('containerd');
  let ctr: Client;
  before(async () => {
    ctr = await startContainerd(here);
  });

  for (const { name, architectures } of [
    { name: 'one manifest', architectures: ['amd64'] },
    { name: 'an index of two platforms', architectures: ['amd64', 'arm64'] },
  ]) {
    test(`pushes ${name}, and fetches it back`, async () => {
      const layout = await writeLayout(await here.fresh('pushed'), {
        architectures,
        layerBytes: [6_000_000, 10],
      });
      const archive = `${layout.path}.tar`;
      await client('tar', here.home)(['-cf', archive, '-C', layout.path, '.']);
      const repository = here.repository('ctr');
      await ctr(['images', 'import', '--all-platforms', '--no-unpack', '--base-name', repository, archive]);
      const reference = `${repository}:latest`;
      await ctr(['images', 'push', '--plain-http', reference]);

      await ctr(['images', 'rm', '--sync', reference]);
      const left = await ctr(['content', 'ls', '--quiet']);
      for (const line of await contents(layout.path)) {
        assert(!left.includes(line.split(' ')[0] ?? ''), `containerd has forgotten ${line}`);
      }
      await ctr(['content', 'fetch', '--plain-http', '--all-platforms', reference]);
      const exported = await here.fresh('exported');
      // Without --local the archive is streamed by the daemon, and ctr can end before its last bytes are written.
      await ctr(['images', 'export', '--local', '--all-platforms', `${exported}.tar`, reference]);
      await client('tar', here.home)(['-xf', `${exported}.tar`, '-C', exported]);
      assert.deepEqual(await contents(exported), await contents(layout.path));
      await ctr(['images', 'rm', '--sync', reference]);
    });
  }
});

async function startContainerd(here: Scene): Promise<Client> {
  // A socket's path may have 107 bytes at most, so it cannot stand in a deep temporary folder.
  const sockets = await mkdtemp('/tmp/longshore-');
  here.onClose(() => rm(sockets, { recursive: true, force: true }));
  const socket = join(sockets, 'containerd.sock');
  const config = here.path('containerd.toml');
  const settings = [
    'version = 3',
    `root = ${JSON.stringify(here.path('containerd'))}`,
    `state = ${JSON.stringify(join(sockets, 'state'))}`,
    'disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"]',
    '[grpc]',
    `address = ${JSON.stringify(socket)}`,
  ];
  await writeFile(config, settings.join('\n'));
  const ctr = client('ctr', here.home, ['--address', socket]);
  const daemon = await startDaemon({
    program: located('containerd'),
    args: ['--config', config],
    env: environment(here.home),
    cwd: here.home,
    ready: async () => existsSync(socket) && (await ctr(['version'])).includes('Server:'),
  });
  here.onClose(() => daemon.stop());
  return ctr;
}
