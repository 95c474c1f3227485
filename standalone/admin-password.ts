// The password of the user `admin`. A registry on one machine generates it at its first start and saves it in its state folder,
// where only the user who runs the registry can read it.
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  fsyncSync,
  linkSync,
  openSync,
  readFileSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { syncFolder } from './durable.ts';
import { StartFailure, systemErrorCode } from './failure.ts';
import { checkOwn, isLink, ownStateFolder } from './private.ts';
import { notWritable } from './state-folder.ts';

export interface AdminPassword {
  readonly text: string;
  /** The file that it is saved in. */
  readonly path: string;
  /** True if this start generated it. */
  readonly isNew: boolean;
}

// Without characters that look alike, such as l and 1, because people copy passwords by hand.
const ALPHABET = 'abcdefghijkmnpqrstuvwxyz23456789';
const GROUPS = 7;
const GROUP_CHARACTERS = 4;

/** Reads the saved password, or generates and saves one. Throws a StartFailure if it can do neither. */
export function adminPassword(stateDir: string): AdminPassword {
  const path = join(stateDir, 'admin-password');
  try {
    ownStateFolder(stateDir);
    const kept = keptIn(path);
    return { text: kept ?? keep(path, newPassword()), path, isNew: kept === null };
  } catch (error) {
    throw error instanceof StartFailure ? error : notWritable(error, stateDir);
  }
}

/** 28 characters of 5 random bits each, in groups. */
function newPassword(): string {
  const characters = [...randomBytes(GROUPS * GROUP_CHARACTERS)].map((byte) => ALPHABET[byte % 32]).join('');
  return (characters.match(new RegExp(`.{${GROUP_CHARACTERS}}`, 'g')) ?? []).join('-');
}

function keptIn(path: string): string | null {
  let text: string;
  try {
    text = readOwn(path);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return null;
    if (error instanceof StartFailure) throw error;
    if (systemErrorCode(error) === 'ELOOP') throw isLink(path);
    throw new StartFailure(
      `Cannot read the password of admin in ${path} (${systemErrorCode(error) ?? error}).\nMake the file readable, or set ADMIN_PASSWORD.`,
    );
  }
  if (text !== '') return text;
  throw new StartFailure(
    `The password file ${path} is empty.\nDelete it: the next start generates a new password.`,
  );
}

/** Reads the file. Throws a StartFailure if it belongs to another user. */
function readOwn(path: string): string {
  const file = openSync(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0));
  try {
    const found = fstatSync(file);
    checkOwn(path, found);
    if ((found.mode & 0o077) !== 0 && found.uid === process.getuid?.()) fchmodSync(file, 0o600);
    return readFileSync(file, 'utf8').trim();
  } finally {
    closeSync(file);
  }
}

// The file gets its name when it is complete. If two processes start at once, the second one uses the password of the first.
function keep(path: string, password: string): string {
  const draft = `${path}.${process.pid}`;
  rmSync(draft, { force: true });
  const file = openSync(draft, 'wx', 0o600);
  try {
    writeSync(file, `${password}\n`);
    fsyncSync(file);
    linkSync(draft, path);
    syncFolder(dirname(path));
    return password;
  } catch (error) {
    const kept = systemErrorCode(error) === 'EEXIST' ? keptIn(path) : null;
    if (kept === null) throw error;
    return kept;
  } finally {
    closeSync(file);
    rmSync(draft, { force: true });
  }
}
