// The folder in which a registry on one machine keeps everything, and the lock that keeps a second
// registry out of it: two writers to one SQLite file would corrupt what each of them promised to keep.
import {
  accessSync,
  chmodSync,
  constants,
  linkSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeFolder, syncFolder } from './durable.ts';
import { StartFailure, systemErrorCode } from './failure.ts';

export interface StateFolder {
  /** The Durable Objects' SQLite files. */
  readonly state: string;
  /** The blobs' bytes. */
  readonly blobs: string;
  /** What a start writes anew: workerd's configuration and the Worker's modules. */
  readonly run: string;
  /** Says that this process, too, works in the folder, so that it counts as used while the process lives. */
  alsoHeldBy(pid: number): void;
  /** Gives the folder up; if workerd did not end in order, the next one to open it tidies up first. */
  release(inOrder: boolean): void;
}

interface Holder {
  readonly pid: number;
  /** When the process started, where the system tells: a pid alone may belong to somebody else after a restart. */
  readonly started?: string;
}

/** How long to wait for the workerd of a registry that was killed: it is ended at once, but not by us. */
const ORPHAN_WAIT_MS = 5_000;
const ORPHAN_POLL_MS = 20;
/** `.NAME.PID.COUNT.tmp` */
const UNFINISHED = /^\..+\.\d+\.\d+\.tmp$/;

/** Makes the folder if it is missing and takes its lock. Throws a StartFailure if it is used or cannot be written. */
export async function openStateFolder(path: string): Promise<StateFolder> {
  const lock = join(path, 'lock');
  const folders = { state: join(path, 'state'), blobs: join(path, 'blobs'), run: join(path, 'run') };
  const self = holder(process.pid);
  let disturbed: boolean;
  try {
    makeFolder(path);
    disturbed = await takeLock(lock, path, self);
  } catch (error) {
    throw notWritable(error, path);
  }
  try {
    for (const folder of Object.values(folders)) {
      makePrivate(folder);
      accessSync(folder, constants.R_OK | constants.W_OK | constants.X_OK);
    }
    // After a power cut the lock has to tell that the folder was not left in order.
    syncFolder(path);
    if (disturbed) removeUnfinished(folders.blobs);
  } catch (error) {
    letGo(lock, !disturbed);
    throw notWritable(error, path);
  }
  return {
    ...folders,
    alsoHeldBy: (pid) => writeFileSync(lock, JSON.stringify([self, holder(pid)])),
    release: (inOrder) => letGo(lock, inOrder),
  };
}

// Keys that tokens are signed with are in the state, secrets in the run folder, and private repositories in the blobs.
function makePrivate(folder: string): void {
  makeFolder(folder, 0o700);
  if ((statSync(folder).mode & 0o007) !== 0) chmodSync(folder, 0o700);
}

/** Answers whether there was a lock already, of somebody who did not end in order. */
async function takeLock(lock: string, path: string, self: Holder): Promise<boolean> {
  let disturbed = false;
  const deadline = Date.now() + ORPHAN_WAIT_MS;
  while (!createLock(lock, self)) {
    const [owner, workerd] = readLock(lock).map((one) => (isAlive(one) ? one : undefined));
    if (owner !== undefined) {
      throw new StartFailure(
        `The folder ${path} is already used by another registry (process ${owner.pid}).\nStop that one, or set STATE_DIR to another folder.`,
      );
    }
    disturbed = true;
    if (workerd === undefined) {
      rmSync(lock, { force: true });
    } else if (Date.now() > deadline) {
      throw new StartFailure(
        `The folder ${path} is still used by the workerd of a registry that was killed (process ${workerd.pid}).\nEnd that process, or set STATE_DIR to another folder.`,
      );
    } else {
      await sleep(ORPHAN_POLL_MS);
    }
  }
  return disturbed;
}

// A lock without a holder is the note that the folder was not left in order. Where no note can be
// left, because the folder is gone or the disk is full, there is nothing more to do for the folder.
function letGo(lock: string, inOrder: boolean): void {
  try {
    if (inOrder) rmSync(lock, { force: true });
    else writeFileSync(lock, '[]');
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error;
  }
}

// Workerd writes a file under a hidden name and renames it when it is whole. A workerd that is killed
// leaves the hidden one, which no Worker can see, and so no collection of garbage would ever find.
function removeUnfinished(blobs: string): void {
  for (const entry of readdirSync(blobs, { recursive: true, withFileTypes: true })) {
    if (entry.isFile() && UNFINISHED.test(entry.name))
      rmSync(join(entry.parentPath, entry.name), { force: true });
  }
}

// The lock appears under its name with its contents in it: one that was created empty and filled
// afterwards could be read in between and taken for stale.
function createLock(lock: string, self: Holder): boolean {
  const draft = `${lock}.${process.pid}`;
  writeFileSync(draft, JSON.stringify([self]));
  try {
    linkSync(draft, lock);
    return true;
  } catch (error) {
    if (systemErrorCode(error) === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(draft, { force: true });
  }
}

// A lock that cannot be understood was cut short by a machine that lost power: nobody holds it.
function readLock(lock: string): Holder[] {
  try {
    const holders: unknown = JSON.parse(readFileSync(lock, 'utf8'));
    return Array.isArray(holders) ? holders.filter((one): one is Holder => typeof one?.pid === 'number') : [];
  } catch {
    return [];
  }
}

function holder(pid: number): Holder {
  const started = startOf(pid);
  return started === undefined ? { pid } : { pid, started };
}

function isAlive({ pid, started }: Holder): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return systemErrorCode(error) === 'EPERM';
  }
  return started === undefined || started === startOf(pid);
}

// Linux's boot id and the process's start in ticks since that boot, the 22nd field of its stat. The
// second field is a file name in parentheses that may hold spaces, so the count begins behind it.
function startOf(pid: number): string | undefined {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // A zombie has let go of everything, though its pid is not free yet.
    return state === 'Z' ? 'ended' : `${boot} ${fields[18]}`;
  } catch {
    return undefined;
  }
}

/** A StartFailure for a system call that failed in the folder; anything else as it is. */
export function notWritable(error: unknown, path: string): unknown {
  const code = systemErrorCode(error);
  if (code === undefined) return error;
  const reason = WHY[code] ?? `${code}.`;
  return new StartFailure(
    `The folder ${path} cannot be written: ${reason}\nSet STATE_DIR to a folder that can be.`,
  );
}

const WHY: Readonly<Record<string, string>> = {
  EACCES: 'permission denied.',
  EPERM: 'permission denied.',
  EROFS: 'the file system is read-only.',
  ENOTDIR: 'a part of its path is a file, not a folder.',
  EEXIST: 'there is a file of that name.',
  ENOSPC: 'the disk is full.',
};
