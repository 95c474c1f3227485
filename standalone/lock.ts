// The lock of the state folder: two writers to one SQLite file would corrupt what each of them promised to keep. It is a
// lock of the operating system on an open file (flock), so it holds across containers that share a volume, and the kernel
// frees it with the last process that has the file open, however that process ends. Decision 17.
import { spawn } from 'node:child_process';
import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  writeSync,
} from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { StartFailure, systemErrorCode } from './failure.ts';
import { checkOwn, isLink } from './private.ts';

export interface Lock {
  /** To be handed to workerd, which then holds the lock as well. */
  readonly fd: number;
  /** Whether the folder was not left in order. */
  readonly disturbed: boolean;
  /** Notes that this process, too, works in the folder. */
  alsoHeldBy(pid: number): void;
  /** Frees the lock as soon as workerd has ended; the note that is left says whether all ended in order. */
  release(inOrder: boolean): void;
}

interface Holder {
  readonly pid: number;
  /** When the process started, where the system tells: a pid alone may belong to another process after a restart. */
  readonly started?: string;
}

/** How long to wait for the workerd of a registry that was killed: it is ended at once, but not by us. */
const ORPHAN_WAIT_MS = 5_000;
const ORPHAN_POLL_MS = 50;
/** Of open(2) on macOS and the BSDs: takes the lock with the file. */
const O_EXLOCK = 0x20;
const FLAGS = constants.O_RDWR | constants.O_CREAT | (constants.O_NOFOLLOW ?? 0);

/** Takes the lock of a folder. Throws a StartFailure if another registry has it. */
export async function takeLock(path: string, folder: string): Promise<Lock> {
  const deadline = Date.now() + ORPHAN_WAIT_MS;
  for (;;) {
    const fd = await lockedFile(path);
    const note = noteIn(path);
    // Release 0.1.0 noted its processes in the file and took no lock.
    const [owner, workerd] = holdersIn(note).map((one) => (isAlive(one) ? one : undefined));
    if (fd !== null && owner === undefined && workerd === undefined) return held(fd, note !== '');
    if (fd !== null) closeSync(fd);
    if (owner !== undefined || Date.now() > deadline) throw inUse(folder, owner, workerd);
    await sleep(ORPHAN_POLL_MS);
  }
}

function held(fd: number, disturbed: boolean): Lock {
  const self = holder(process.pid);
  const note = (text: string) => {
    ftruncateSync(fd);
    writeSync(fd, text, 0);
    // After a power cut the note has to tell that the folder was not left in order.
    fsyncSync(fd);
  };
  note(JSON.stringify([self]));
  return {
    fd,
    disturbed,
    alsoHeldBy: (pid) => note(JSON.stringify([self, holder(pid)])),
    release: (inOrder) => {
      // Where no note can be left, because the disk is full, the one that is there says that something is to be tidied up.
      try {
        note(inOrder ? '' : '[]');
      } catch (error) {
        if (systemErrorCode(error) === undefined) throw error;
      }
      closeSync(fd);
    },
  };
}

/** The file, open and locked; null where another has the lock. */
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
    // Another user who could open it could lock it.
    if ((found.mode & 0o077) !== 0) fchmodSync(fd, 0o600);
    if (locksOnOpen || process.platform === 'win32' || (await flock(fd))) return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  closeSync(fd);
  return null;
}

/**
 * Node has no flock(2). The program of that name locks the open file that it inherits, and the lock stays with the file
 * when the program has ended, because we have the same file open.
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
          'The program flock is missing, which locks the folder.\nInstall util-linux (or busybox).',
        ),
      ),
    );
    child.on('close', (code) => {
      if (code === 0 || code === 1) resolve(code === 0);
      else
        reject(
          new StartFailure(`The folder cannot be locked: ${stderr.trim()}\nSet STATE_DIR to a local folder.`),
        );
    });
  });
}

function inUse(folder: string, owner: Holder | undefined, workerd: Holder | undefined): StartFailure {
  const by =
    owner === undefined && workerd !== undefined
      ? `the workerd of a registry that was killed (process ${workerd.pid})`
      : `another registry (${owner === undefined ? 'of another container or machine' : `process ${owner.pid}`})`;
  return new StartFailure(
    `The folder ${folder} is already used by ${by}.\nStop that one, or set STATE_DIR to another folder.`,
  );
}

function noteIn(path: string): string {
  return readFileSync(path, 'utf8').trim();
}

// A note that cannot be understood was cut short by a machine that lost power.
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
