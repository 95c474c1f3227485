// A BuildKit of the suite's own, with its own storage and socket, and its client buildctl. Needs root and runc.
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Client, client, environment, located } from './client.ts';
import { startDaemon } from './daemon.ts';
import type { Scene } from './registry.ts';

export async function startBuildkit(here: Scene): Promise<Client> {
  // A socket's path may have 107 bytes at most, so it cannot stand in a deep temporary folder.
  const sockets = await mkdtemp('/tmp/longshore-');
  here.onClose(() => rm(sockets, { recursive: true, force: true }));
  const socket = join(sockets, 'buildkitd.sock');
  const address = ['--addr', `unix://${socket}`];
  const buildctl = client('buildctl', here.home, address);
  const daemon = await startDaemon({
    program: located('buildkitd'),
    args: [
      ...address,
      ...['--root', here.path('buildkit')],
      '--containerd-worker=false',
      '--oci-worker-snapshotter=native',
    ],
    env: environment(here.home),
    cwd: here.home,
    ready: async () => existsSync(socket) && (await buildctl(['debug', 'workers'])).includes('linux/'),
  });
  here.onClose(() => daemon.stop());
  return buildctl;
}
