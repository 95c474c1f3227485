// Checks that only this user controls the state folder. It has the password of the admin and the keys that sign tokens. A user
// who could put files there could become admin of the registry.
import { chmodSync, lstatSync, readlinkSync, type Stats } from 'node:fs';
import { makeFolder } from './durable.ts';
import { StartFailure } from './failure.ts';

const WRITABLE_BY_GROUP = 0o020;
const WRITABLE_BY_OTHERS = 0o002;
const WRITABLE_BY_ANOTHER = WRITABLE_BY_GROUP | WRITABLE_BY_OTHERS;

/**
 * Creates the state folder if it is missing. Throws a StartFailure if it is a link, belongs to another user, or is writable by
 * other users.
 */
export function ownStateFolder(path: string): void {
  makeFolder(path, 0o700);
  const found = lstatSync(path);
  checkOwn(path, found);
  if ((found.mode & WRITABLE_BY_ANOTHER) === 0 || process.getuid === undefined) return;
  if ((found.mode & WRITABLE_BY_OTHERS) !== 0) {
    throw new StartFailure(
      `Other users can write in the folder ${path}.\nRun chmod go-w on it, or set STATE_DIR to a folder below it.`,
    );
  }
  // In Kubernetes (fsGroup), root owns the folder of a volume, and the group of this process may write to it.
  if (found.uid === process.getuid()) chmodSync(path, found.mode & 0o777 & ~WRITABLE_BY_ANOTHER);
  else if (!ourGroups().includes(found.gid)) {
    throw new StartFailure(`Another group can write in the folder ${path}.\nRun chmod g-w on it.`);
  }
}

/** Creates a folder in the state folder. If it exists, checks it and removes the rights of other users. */
export function ownFolder(path: string): void {
  makeFolder(path, 0o700);
  const found = lstatSync(path);
  checkOwn(path, found);
  if ((found.mode & WRITABLE_BY_OTHERS) !== 0) {
    throw new StartFailure(
      `Other users can write in the folder ${path}, so its files cannot be trusted.\nCheck them, then run chmod go-w on the folder.`,
    );
  }
  if ((found.mode & 0o077) !== 0) chmodSync(path, 0o700);
}

/** Throws a StartFailure if a file or folder is a link, or belongs to a user other than this one or root. */
export function checkOwn(path: string, found: Stats): void {
  if (found.isSymbolicLink()) throw isLink(path);
  const uid = process.getuid?.();
  if (uid === undefined || found.uid === uid || found.uid === 0) return;
  throw new StartFailure(
    `${path} belongs to another user (uid ${found.uid}), so it is not used.\nRun this as that user, run chown on it once you have checked it, or set STATE_DIR to a folder of your own.`,
  );
}

export function isLink(path: string): StartFailure {
  return new StartFailure(
    `${path} is a link, and links are not followed.\nIt leads to ${readlinkSync(path)}: put the real one in its place, or set STATE_DIR to a folder without links.`,
  );
}

function ourGroups(): number[] {
  return [process.getgid?.() ?? 0, ...(process.getgroups?.() ?? [])];
}
