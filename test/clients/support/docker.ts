// A Docker daemon of the suite's own, with its own storage and socket, and without any network of containers:
// nothing here runs one. Needs root, and no privilege beyond it.
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Client, client, environment, located } from './client.ts';
import { startDaemon } from './daemon.ts';
import type { Scene } from './registry.ts';

export async function startDocker(here: Scene): Promise<Client> {
  // A socket's path may have 107 bytes at most, so it cannot stand in a deep temporary folder.
  const sockets = await mkdtemp('/tmp/longshore-');
  here.onClose(() => rm(sockets, { recursive: true, force: true }));
  const socket = join(sockets, 'docker.sock');
  const daemon = await startDaemon({
    program: located('dockerd'),
    args: [
      ...['--data-root', here.path('docker')],
      ...['--exec-root', join(sockets, 'exec')],
      ...['--pidfile', join(sockets, 'docker.pid')],
      ...['--host', `unix://${socket}`],
      ...['--storage-driver', 'vfs'],
      ...['--bridge', 'none'],
      '--iptables=false',
    ],
    // The daemon starts the containerd that Debian ships with it, found on the PATH as it is.
    env: environment(here.home),
    cwd: here.home,
    ready: (log) => existsSync(socket) && log.includes('API listen on'),
  });
  here.onClose(() => daemon.stop());
  const docker = client('docker', here.home, ['--host', `unix://${socket}`]);
  // Docker's newer builder is not in every package, and nothing here needs it.
  return (args, options) => docker(args, { ...options, env: { DOCKER_BUILDKIT: '0', ...options?.env } });
}
