/**
 * Disks that lose power: what was written and never synced is gone. One is a file system in a file, mounted by loop: what a
 * copy of that file has, while it is mounted, is what was synced. That takes root on Linux. The other needs nothing: it notes
 * which files of blobs were synced, and its copies have no bytes of the others.
 */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import type { HomeOptions } from '../support/homes.ts';

export interface Disk {
  /** How a home keeps its state on this disk. */
  readonly options: Pick<HomeOptions, 'stateDir' | 'services'>;
  /** Whether a push saves what was pushed before it, so that only a cut right after each shows what that one did. */
  readonly savesEarlier: boolean;
  /** What the disk has if its power fails now; to be `restored` later. Nothing may be written meanwhile. */
  cut(): string;
  /** The state folder after a cut, as the next start of the machine finds it. */
  restored(cut: string): string;
  end(): void;
}

const IMAGE_BYTES = 128 * 1024 * 1024;
// The default of 5 seconds between commits of the journal would save what the registry did not sync.
const MOUNT = ['-t', 'ext4', '-o', 'loop,commit=300'];
/** Debian keeps these where only root looks. */
const ENV = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };

/** Throws what stands in the way where nothing can be mounted. */
export function mountedDisk(): Disk {
  const folder = temporaryFolder();
  const image = join(folder, 'disk.img');
  const mounts: string[] = [];
  let cuts = 0;
  const end = () => {
    for (const mount of mounts) run('umount', '--lazy', mount);
    rmSync(folder, { recursive: true, force: true });
  };
  const mount = (file: string): string => {
    const at = `${file}.mounted`;
    mkdirSync(at);
    run('mount', ...MOUNT, file, at);
    mounts.push(at);
    return at;
  };
  try {
    writeFileSync(image, '');
    truncateSync(image, IMAGE_BYTES);
    run('mkfs.ext4', '-q', '-F', image);
    const stateDir = join(mount(image), 'state');
    return {
      options: { stateDir },
      savesEarlier: true,
      cut: () => {
        const copy = join(folder, `cut-${++cuts}.img`);
        run('cp', '--sparse=always', image, copy);
        return copy;
      },
      restored: (copy) => withoutHolders(join(mount(copy), 'state')),
      end,
    };
  } catch (error) {
    end();
    throw error;
  }
}

export async function notingDisk(): Promise<Disk> {
  const folder = temporaryFolder();
  const stateDir = join(folder, 'state');
  const synced = new Set<string>();
  const server = createServer(async (request, response) => {
    let text = '';
    for await (const piece of request.setEncoding('utf8')) text += piece;
    for (const key of JSON.parse(text) as string[]) synced.add(key);
    response.writeHead(204).end();
  });
  server.keepAliveTimeout = 0;
  await once(server.listen(0, '127.0.0.1'), 'listening');
  let cuts = 0;
  return {
    savesEarlier: false,
    options: { stateDir, services: { SYNC: `127.0.0.1:${(server.address() as AddressInfo).port}` } },
    cut: () => {
      const copy = join(folder, `cut-${++cuts}`);
      const skip = (source: string) => !source.endsWith('.sock');
      cpSync(stateDir, copy, { recursive: true, filter: skip });
      const blobs = join(copy, 'blobs');
      for (const entry of readdirSync(blobs, { recursive: true, withFileTypes: true })) {
        const path = join(entry.parentPath, entry.name);
        if (entry.isFile() && !synced.has(relative(blobs, path))) truncateSync(path);
      }
      return copy;
    },
    restored: withoutHolders,
    end: () => {
      server.close();
      server.closeAllConnections();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** After a power cut no process is left; here those that hold the folder of which this is a copy still run. */
function withoutHolders(stateDir: string): string {
  writeFileSync(join(stateDir, 'lock'), '[]');
  return stateDir;
}

function temporaryFolder(): string {
  return mkdtempSync(join(tmpdir(), 'longshore-power-'));
}

function run(command: string, ...args: string[]): void {
  execFileSync(command, args, { stdio: ['ignore', 'ignore', 'pipe'], env: ENV });
}
