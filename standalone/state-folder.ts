// The state folder of a registry on one machine: created, checked, locked, and cleaned up after an unclean shutdown.
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
  /** Files that every start writes again: workerd's configuration, the Worker's modules, sockets. */
  readonly run: string;
  readonly lock: Lock;
}

/** `.NAME.PID.COUNT.tmp` */
const UNFINISHED = /^\..+\.\d+\.\d+\.tmp$/;

/**
 * Creates the folder if it is missing, and locks it. Throws a StartFailure if it is in use, not writable, or belongs to another
 * user.
 */
export async function openStateFolder(path: string): Promise<StateFolder> {
  const folders = { state: join(path, 'state'), blobs: join(path, 'blobs'), run: join(path, 'run') };
  let lock: Lock;
  try {
    ownStateFolder(path);
    ownFolder(folders.state);
    lock = await takeLock(path, folders.state);
  } catch (error) {
    throw notWritable(error, path);
  }
  try {
    // All three are private: they have the keys that sign tokens, the secrets in settings, and private blobs.
    for (const folder of Object.values(folders)) {
      ownFolder(folder);
      accessSync(folder, constants.R_OK | constants.W_OK | constants.X_OK);
    }
    // After a power cut the lock file must still be there: it says that the shutdown was not clean.
    syncFolder(path);
    if (lock.disturbed) removeUnfinished(folders.blobs);
  } catch (error) {
    lock.release(!lock.disturbed);
    throw notWritable(error, path);
  }
  return { ...folders, lock };
}

// Workerd writes a file under a hidden name and renames it when it is complete. If it is killed, the hidden file stays. A
// Worker cannot see it, so the garbage collection would never remove it.
function removeUnfinished(blobs: string): void {
  for (const entry of readdirSync(blobs, { recursive: true, withFileTypes: true })) {
    if (entry.isFile() && UNFINISHED.test(entry.name))
      rmSync(join(entry.parentPath, entry.name), { force: true });
  }
}

/** Makes a StartFailure of a failed system call. Returns any other error unchanged. */
export function notWritable(error: unknown, path: string): unknown {
  const code = systemErrorCode(error);
  if (code === undefined) return error;
  const reason = WHY[code] ?? `${code}.`;
  return new StartFailure(
    `Cannot write to the folder ${path}: ${reason}\nSet STATE_DIR to a folder that is writable.`,
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
