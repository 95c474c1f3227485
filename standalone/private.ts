// Whether what is found in the state folder can be trusted. It holds the password of the admin and the keys that tokens are
// signed with: another user who could put files there would be the admin of the registry.
import { chmodSync, lstatSync, readlinkSync, type Stats } from 'node:fs';
import { makeFolder } from './durable.ts';
import { StartFailure } from './failure.ts';

const WRITABLE_BY_GROUP = 0o020;
const WRITABLE_BY_OTHERS = 0o002;
const WRITABLE_BY_ANOTHER = WRITABLE_BY_GROUP | WRITABLE_BY_OTHERS;

/**
 * Makes the state folder if it is missing. Throws a StartFailure where it is a link, belongs to another user, or can be
 * written by other users.
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
  // On a volume of Kubernetes, root owns the folder, and our group may write (fsGroup), because its owner said so.
  if (found.uid === process.getuid()) chmodSync(path, found.mode & 0o777 & ~WRITABLE_BY_ANOTHER);
  else if (!ourGroups().includes(found.gid)) {
    throw new StartFailure(`Another group can write in the folder ${path}.\nRun chmod g-w on it.`);
  }
}

/** Makes a folder in the state folder, or else checks it and keeps other users out of it. */
export function ownFolder(path: string): void {
  makeFolder(path, 0o700);
  const found = lstatSync(path);
  checkOwn(path, found);
  if ((found.mode & WRITABLE_BY_OTHERS) !== 0) {
    throw new StartFailure(
      `Other users can write in the folder ${path}, so what is in it cannot be trusted.\nRun chmod go-w on it once you have checked it.`,
    );
  }
  if ((found.mode & 0o077) !== 0) chmodSync(path, 0o700);
}

/** Throws a StartFailure where a file or folder is a link, or belongs to a user who is neither this one nor root. */
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
