// Docker daemons of the suite's own, with their own storage and socket, and without any network of containers:
// nothing here runs one. They need root, and no privilege beyond it.
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Client, client, environment, located } from './client.ts';
import { startContainerdAt } from './containerd.ts';
import { startDaemon } from './daemon.ts';
import type { Scene } from './registry.ts';

/**
 * With the classic store, in the storage that the daemon chooses: an overlay writes a layer once, vfs once for each layer above it. The daemon
 * starts the containerd that Debian ships with it, found on the PATH as it is.
 */
export async function startDocker(here: Scene): Promise<Client> {
  const docker = await startDaemonOf(here, 'dockerd', []);
  // Docker's newer builder is not in every package, and nothing here needs it.
  return (args, options) => docker(args, { ...options, env: { DOCKER_BUILDKIT: '0', ...options?.env } });
}

/** Docker 29, whose store is containerd's. */
export async function startDockerOnContainerd(here: Scene): Promise<Client> {
  const { socket } = await startContainerdAt(here);
  // An overlay needs a disk that takes one, and the files of a container often lie on one that does not.
  return startDaemonOf(here, 'dockerd-29', [
    ...['--feature', 'containerd-snapshotter=true'],
    ...['--storage-driver', 'native'],
    ...['--containerd', socket],
  ]);
}

async function startDaemonOf(here: Scene, program: string, settings: readonly string[]): Promise<Client> {
  // A socket's path may have 107 bytes at most, so it cannot stand in a deep temporary folder.
  const sockets = await mkdtemp('/tmp/longshore-');
  here.onClose(() => rm(sockets, { recursive: true, force: true }));
  const socket = join(sockets, 'docker.sock');
  const daemon = await startDaemon({
    program: located(program),
    args: [
      ...['--data-root', here.path('docker')],
      ...['--exec-root', join(sockets, 'exec')],
      ...['--pidfile', join(sockets, 'docker.pid')],
      ...['--host', `unix://${socket}`],
      ...['--bridge', 'none'],
      '--iptables=false',
      ...settings,
    ],
    env: environment(here.home),
    cwd: here.home,
    ready: (log) => existsSync(socket) && log.includes('API listen on'),
  });
  here.onClose(() => daemon.stop());
  return client('docker', here.home, ['--host', `unix://${socket}`]);
}
