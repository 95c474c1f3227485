// The folder in which a registry on one machine keeps everything: made, checked, locked, and tidied up where the last
// registry did not end in order.
import { accessSync, constants, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { syncFolder } from './durable.ts';
import { StartFailure, systemErrorCode } from './failure.ts';
import { type Lock, takeLock } from './lock.ts';
import { ownFolder, ownStateFolder } from './private.ts';

export interface StateFolder {
  /** The Durable Objects' SQLite files. */
  readonly state: string;
  /** The blobs' bytes. */
  readonly blobs: string;
  /** What a start writes anew: workerd's configuration and the Worker's modules, and sockets. */
  readonly run: string;
  readonly lock: Lock;
}

/** `.NAME.PID.COUNT.tmp` */
const UNFINISHED = /^\..+\.\d+\.\d+\.tmp$/;

/**
 * Makes the folder if it is missing and takes its lock. Throws a StartFailure if it is used, cannot be written, or is
 * another user's.
 */
export async function openStateFolder(path: string): Promise<StateFolder> {
  const folders = { state: join(path, 'state'), blobs: join(path, 'blobs'), run: join(path, 'run') };
  let lock: Lock;
  try {
    ownStateFolder(path);
    lock = await takeLock(join(path, 'lock'), path);
  } catch (error) {
    throw notWritable(error, path);
  }
  try {
    // Keys that tokens are signed with are in the state, secrets in the run folder, and private repositories in the blobs.
    for (const folder of Object.values(folders)) {
      ownFolder(folder);
      accessSync(folder, constants.R_OK | constants.W_OK | constants.X_OK);
    }
    // After a power cut the lock has to tell that the folder was not left in order.
    syncFolder(path);
    if (lock.disturbed) removeUnfinished(folders.blobs);
  } catch (error) {
    lock.release(!lock.disturbed);
    throw notWritable(error, path);
  }
  return { ...folders, lock };
}

// Workerd writes a file under a hidden name and renames it when it is whole. A workerd that is killed
// leaves the hidden one, which no Worker can see, and so no collection of garbage would ever find.
function removeUnfinished(blobs: string): void {
  for (const entry of readdirSync(blobs, { recursive: true, withFileTypes: true })) {
    if (entry.isFile() && UNFINISHED.test(entry.name))
      rmSync(join(entry.parentPath, entry.name), { force: true });
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
