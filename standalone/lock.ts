// The lock of the state folder, because two registries would corrupt each other's SQLite files. It is a lock of the operating
// system on open files (flock): the file `lock`, and on Linux also the folder `state`, because `lock` may be deleted. It works
// across containers that share a volume, and the kernel frees it when the last process that has them open ends, in whatever
// way. Decision 17.
import { spawn } from 'node:child_process';
import {
  closeSync,
  constants,
  existsSync,
  fchmodSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { StartFailure, systemErrorCode } from './failure.ts';
import { checkOwn, isLink } from './private.ts';

export interface Lock {
  /** Workerd inherits these and then also holds the lock. */
  readonly fds: readonly number[];
  /** True if the previous registry did not shut down cleanly. */
  readonly disturbed: boolean;
  /** Records that this process also uses the folder. */
  alsoHeldBy(pid: number): void;
  /** Frees the lock once workerd has ended, and records whether the shutdown was clean. */
  release(inOrder: boolean): void;
}

interface Holder {
  readonly pid: number;
  /** When the process started, if the system says so. After a restart, another process can have the same pid. */
  readonly started?: string;
}

/** How long to wait for the workerd of a registry that was killed. Its guard process ends it at once. */
const ORPHAN_WAIT_MS = 5_000;
const ORPHAN_POLL_MS = 50;
/** A flag of open(2) on macOS and the BSDs: open and lock in one step. */
const O_EXLOCK = 0x20;
const FLAGS = constants.O_RDWR | constants.O_CREAT | (constants.O_NOFOLLOW ?? 0);

/** Takes the lock of a folder, in which `state` exists. Throws a StartFailure if another registry has it. */
export async function takeLock(folder: string, state: string): Promise<Lock> {
  const path = join(folder, 'lock');
  const deadline = Date.now() + ORPHAN_WAIT_MS;
  for (;;) {
    const taken = await lockBoth(path, state);
    const note = noteIn(path);
    // Release 0.1.0 wrote its processes into the file and took no lock.
    const [owner, workerd] = holdersIn(note).map((one) => (isAlive(one) ? one : undefined));
    if (taken !== null && owner === undefined && workerd === undefined) {
      return held(taken.file, taken.fds, note !== '' || taken.lostNote);
    }
    for (const fd of taken?.fds ?? []) closeSync(fd);
    if (owner !== undefined || Date.now() > deadline) throw inUse(folder, owner, workerd);
    await sleep(ORPHAN_POLL_MS);
  }
}

function held(fd: number, fds: number[], disturbed: boolean): Lock {
  const self = holder(process.pid);
  const note = (text: string) => {
    // An empty note says that the shutdown was clean. A write that fails or a power cut must not leave one, so the rest of the
    // earlier note is cut off only behind the new one.
    writeSync(fd, text, 0);
    ftruncateSync(fd, text.length);
    fsyncSync(fd);
  };
  note(JSON.stringify([self]));
  return {
    fds,
    disturbed,
    alsoHeldBy: (pid) => note(JSON.stringify([self, holder(pid)])),
    release: (inOrder) => {
      // If the disk is full, the earlier note stays, and the next start cleans up.
      try {
        note(inOrder ? '' : '[]');
      } catch (error) {
        if (systemErrorCode(error) === undefined) throw error;
      }
      for (const one of fds) closeSync(one);
    },
  };
}

interface Taken {
  readonly file: number;
  /** The file, and the folder where it can be locked. */
  readonly fds: number[];
  /** True if the file was deleted. Its note said whether the shutdown was clean. */
  readonly lostNote: boolean;
}

/** Locks the folder, and then creates and locks the file. Null if another process has one of the locks. */
async function lockBoth(path: string, state: string): Promise<Taken | null> {
  const folder = await lockedFolder(state);
  if (folder === null) return null;
  let file: number | null = null;
  try {
    const lostNote = !existsSync(path) && readdirSync(state).length > 0;
    file = await lockedFile(path);
    return file === null ? null : { file, fds: [file, ...folder], lostNote };
  } finally {
    if (file === null) for (const fd of folder) closeSync(fd);
  }
}

/**
 * Opens and locks a folder. Null if another process has the lock. Empty where folders are not locked: on other systems than Linux,
 * and on network file systems that lock only files that can be written.
 */
async function lockedFolder(path: string): Promise<[number] | [] | null> {
  if (process.platform !== 'linux') return [];
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  let isLocked = false;
  try {
    isLocked = await flock(fd);
    return isLocked ? [fd] : null;
  } catch (error) {
    if (error instanceof CannotLock) return [];
    throw error;
  } finally {
    if (!isLocked) closeSync(fd);
  }
}

/** Opens and locks the file. Null if another process has the lock. */
async function lockedFile(path: string): Promise<number | null> {
  const locksOnOpen = process.platform === 'darwin' || process.platform.endsWith('bsd');
  let fd: number;
  try {
    fd = openSync(path, locksOnOpen ? FLAGS | O_EXLOCK | constants.O_NONBLOCK : FLAGS, 0o600);
  } catch (error) {
    if (systemErrorCode(error) === 'EAGAIN') return null;
    throw systemErrorCode(error) === 'ELOOP' ? isLink(path) : error;
  }
  try {
    const found = fstatSync(fd);
    checkOwn(path, found);
    // A user who can open the file can lock it.
    if ((found.mode & 0o077) !== 0) fchmodSync(fd, 0o600);
    if (locksOnOpen || process.platform === 'win32' || (await flock(fd))) return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  closeSync(fd);
  return null;
}

/** The file system does not have such locks. */
class CannotLock extends StartFailure {}

/**
 * Node has no flock(2). The program `flock` locks the open file that it inherits. The lock stays after the program ends,
 * because this process has the same file open.
 */
function flock(fd: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    let stderr = '';
    const child = spawn('flock', ['-n', '3'], { stdio: ['ignore', 'ignore', 'pipe', fd] });
    child.stderr?.setEncoding('utf8').on('data', (chunk) => {
      stderr += chunk;
    });
    child.on('error', () =>
      reject(
        new StartFailure(
          'Cannot lock the folder, because the program flock is missing.\nInstall util-linux or busybox.',
        ),
      ),
    );
    child.on('close', (code) => {
      // busybox ends with 1 also after an error, but only then says something.
      if (code === 0 || (code === 1 && stderr === '')) resolve(code === 0);
      else
        reject(
          new CannotLock(
            `Cannot lock the folder: ${stderr.trim()}\nSet STATE_DIR to a folder on a local disk.`,
          ),
        );
    });
  });
}

function inUse(folder: string, owner: Holder | undefined, workerd: Holder | undefined): StartFailure {
  const by =
    owner === undefined && workerd !== undefined
      ? `the workerd of a registry that was killed (process ${workerd.pid})`
      : `another registry (${owner === undefined ? 'of another container or machine, or its file lock was deleted' : `process ${owner.pid}`})`;
  return new StartFailure(
    `The folder ${folder} is already used by ${by}.\nStop that one, or set STATE_DIR to another folder.`,
  );
}

function noteIn(path: string): string {
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : '';
}

// A note that cannot be parsed was interrupted by a power cut.
function holdersIn(note: string): Holder[] {
  try {
    const holders: unknown = JSON.parse(note);
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
  return started !== undefined && started === startOf(pid);
}

// Linux's boot id, and the start of the process in ticks since that boot: field 22 of its stat. Field 2 is a file name in
// parentheses that can contain spaces, so the count begins after it.
function startOf(pid: number): string | undefined {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // A zombie holds no files, although its pid is not free yet.
    return state === 'Z' ? 'ended' : `${boot} ${fields[18]}`;
  } catch {
    return undefined;
  }
}
