/**
 * The state of unfinished uploads, so that the next push continues where a killed one ended. One file for each upload, in
 * $XDG_STATE_HOME/longshore/uploads. The name of a file says which process owns it: the file of a process that has ended belongs to
 * the first one that renames it. XDG Base Directory Specification.
 */
import { createHash, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { makeFolder } from './make-folder.ts';

/** Registries forget an upload after a day. */
const LIFETIME_MS = 24 * 3600 * 1000;
const FILE_MAX_BYTES = 64 * 1024;
const KEY_LENGTH = 32;

export interface UploadKey {
  readonly origin: string;
  readonly repository: string;
  readonly digest: string;
}

/** What is kept of an unfinished upload. */
interface State extends UploadKey {
  location: string;
  /** The bytes are stored in the bucket, past the registry (`direct.ts`). */
  isDirect?: boolean;
}

export class ResumeStore {
  readonly #folder: string;
  readonly #report: (message: string) => void;
  #isUsable: Promise<boolean> | null = null;

  /** `report` gets a sentence, once, if nothing can be kept. */
  constructor(env: NodeJS.ProcessEnv, report: (message: string) => void = () => {}) {
    const state = env.XDG_STATE_HOME || join(env.HOME || homedir(), '.local/state');
    this.#folder = join(state, 'longshore/uploads');
    this.#report = report;
  }

  /** The unfinished uploads of processes that have ended, the latest first. The caller owns each from then on. */
  async *claim(key: UploadKey): AsyncGenerator<UploadEntry> {
    if (!(await this.#open())) return;
    const prefix = `${nameOf(key)}.`;
    const names = (await readdir(this.#folder)).filter((name) => name.startsWith(prefix) && isFree(name));
    const found = await Promise.all(names.map(async (name) => ({ name, at: await this.#changedAt(name) })));
    for (const { name } of found.sort((one, other) => other.at - one.at)) {
      const own = join(this.#folder, ownName(key));
      try {
        await rename(join(this.#folder, name), own);
      } catch {
        // Another process was first.
        continue;
      }
      const state = await read(own);
      if (state !== null && isOf(state, key)) yield new UploadEntry(this, key, own, state);
      else await rm(own, { force: true, recursive: true });
    }
  }

  /** An entry for a new upload. Nothing is written before its first `save`. */
  create(key: UploadKey): UploadEntry {
    return new UploadEntry(this, key, join(this.#folder, ownName(key)), null);
  }

  /** Writes a file of this store atomically. An upload that cannot be kept is no reason to stop it. */
  async write(path: string, state: State): Promise<void> {
    if (!(await this.#open())) return;
    const temporary = `${path}.tmp`;
    try {
      const file = await open(temporary, 'w', 0o600);
      try {
        await file.writeFile(JSON.stringify(state));
        await file.datasync();
      } finally {
        await file.close();
      }
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => {});
      this.#failed(error);
    }
  }

  #open(): Promise<boolean> {
    this.#isUsable ??= this.#prepare();
    return this.#isUsable;
  }

  async #prepare(): Promise<boolean> {
    try {
      await makeFolder(this.#folder, 0o700);
      const oldest = Date.now() - LIFETIME_MS;
      const names = await readdir(this.#folder);
      await Promise.all(
        names.map(async (name) => {
          if ((await this.#changedAt(name)) < oldest)
            await rm(join(this.#folder, name), { force: true, recursive: true });
        }),
      );
      return true;
    } catch (error) {
      this.#failed(error);
      return false;
    }
  }

  #failed(error: unknown): void {
    const { code, message } = error as NodeJS.ErrnoException;
    this.#isUsable = Promise.resolve(false);
    this.#report(
      `Cannot write ${this.#folder} (${code ?? message}), so a push that is killed starts again. Set XDG_STATE_HOME to a folder that can be written.`,
    );
  }

  /** Unix time, ms; 0 if the file is gone. */
  async #changedAt(name: string): Promise<number> {
    return stat(join(this.#folder, name)).then(
      ({ mtimeMs }) => mtimeMs,
      () => 0,
    );
  }
}

/** One unfinished upload, which this process owns. */
export class UploadEntry {
  /** Where the upload continues. Null before the first `save`. */
  location: string | null;
  /** Whether the upload continues past the registry. */
  readonly isDirect: boolean;
  readonly #store: ResumeStore;
  readonly #key: UploadKey;
  readonly #path: string;

  constructor(store: ResumeStore, key: UploadKey, path: string, state: State | null) {
    this.#store = store;
    this.#key = key;
    this.#path = path;
    this.location = state?.location ?? null;
    this.isDirect = state?.isDirect === true;
  }

  async save(location: string, isDirect = false): Promise<void> {
    this.location = location;
    await this.#store.write(this.#path, { ...this.#key, location, isDirect });
  }

  async remove(): Promise<void> {
    if (this.location !== null) await rm(this.#path, { force: true }).catch(() => {});
  }
}

function nameOf({ origin, repository, digest }: UploadKey): string {
  return createHash('sha256')
    .update(`${origin}\n${repository}\n${digest}`)
    .digest('hex')
    .slice(0, KEY_LENGTH);
}

function ownName(key: UploadKey): string {
  return `${nameOf(key)}.${process.pid}.${startOf(process.pid) ?? 0}.${randomUUID()}`;
}

/** Whether the process that owns the file has ended. */
function isFree(name: string): boolean {
  const [, pid, start] = /^[0-9a-f]+\.(\d{1,10})\.(\d{1,20})\.[0-9a-f-]+$/.exec(name) ?? [];
  if (pid === undefined) return false;
  const now = startOf(Number(pid));
  if (now !== null) return now !== start;
  // Without /proc, a process with the same number counts as the owner.
  return start !== '0' || !isAlive(Number(pid));
}

/** When a process started, in ticks since the boot; null without /proc or without such a process. proc_pid_stat(5). */
function startOf(pid: number): string | null {
  try {
    const line = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name of the program is in parentheses and may hold spaces.
    return line.slice(line.lastIndexOf(')') + 2).split(' ')[19] ?? null;
  } catch {
    return null;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

async function read(path: string): Promise<State | null> {
  try {
    if ((await stat(path)).size > FILE_MAX_BYTES) return null;
    const state = JSON.parse(await readFile(path, 'utf8')) as State;
    return typeof state?.location === 'string' ? state : null;
  } catch {
    return null;
  }
}

function isOf(state: State, { origin, repository, digest }: UploadKey): boolean {
  return state.origin === origin && state.repository === repository && state.digest === digest;
}
