// A containerd of the suite's own, with its own storage and socket, and its client ctr. Needs root.
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Client, client, environment, located } from './client.ts';
import { startDaemon } from './daemon.ts';
import type { Scene } from './registry.ts';

/** `transfer` are settings of the transfer service, by which `ctr images pull` pulls. */
export async function startContainerd(here: Scene, transfer: readonly string[] = []): Promise<Client> {
  return (await startContainerdAt(here, transfer)).ctr;
}

export interface Containerd {
  ctr: Client;
  /** The path of its socket. */
  socket: string;
}

export async function startContainerdAt(here: Scene, transfer: readonly string[] = []): Promise<Containerd> {
  // A socket's path may have 107 bytes at most, so it cannot stand in a deep temporary folder.
  const sockets = await mkdtemp('/tmp/longshore-');
  here.onClose(() => rm(sockets, { recursive: true, force: true }));
  const socket = join(sockets, 'containerd.sock');
  // A suite may have several.
  const folder = await here.fresh('containerd');
  const config = join(folder, 'containerd.toml');
  const settings = [
    'version = 3',
    `root = ${JSON.stringify(join(folder, 'root'))}`,
    `state = ${JSON.stringify(join(sockets, 'state'))}`,
    'disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"]',
    '[grpc]',
    `address = ${JSON.stringify(socket)}`,
    '[plugins."io.containerd.transfer.v1.local"]',
    ...transfer,
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
  return { ctr, socket };
}
