// The registry on one machine: workerd, started on the bundled Worker and a folder, and watched until
// it ends. The command, the tests and the benchmark all start it here.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { join, resolve } from 'node:path';
import { bundle } from './bundle.ts';
import { CF_HEADER, configuration, PROTOCOL_HEADER, STATE_FOLDERS } from './config.ts';
import { makeFolder } from './durable.ts';
import { removeEmptied } from './emptied.ts';
import { StartFailure } from './failure.ts';
import { boundNames, checkAddress, hostAndPort, portInUse, reachableHost } from './port.ts';
import { privateSocket } from './socket.ts';
import { openStateFolder, type StateFolder } from './state-folder.ts';
import { type SyncService, startSyncService } from './sync-service.ts';
import { type Exit, runWorkerd, type Workerd } from './workerd.ts';

export interface MachineOptions {
  /** Where everything is kept; made if it is missing, and locked until workerd has ended. */
  readonly stateDir: string;
  /** 0, the default, chooses a free one. */
  readonly port?: number;
  /** 127.0.0.1 unless it is given; `*` is every address. */
  readonly host?: string;
  /** Whether a server of this process stands before workerd, which then listens on a Unix socket and nowhere else. */
  readonly isBehindTls?: boolean;
  /** Path of the Worker's entry module; Longshore's own unless it is given. */
  readonly entry?: string;
  /** Text bindings. */
  readonly vars?: Readonly<Record<string, string>>;
  /** Service bindings to HTTP servers, from the binding's name to host:port; one named DISK takes the folder's place. */
  readonly services?: Readonly<Record<string, string>>;
  /** Hears what workerd and the Worker print, once the registry answers. */
  readonly onOutput?: (chunk: string) => void;
}

export interface Machine {
  /** Where the registry answers, without a slash at its end. */
  readonly url: string;
  readonly port: number;
  /** The Unix socket that workerd listens on; null where it listens on the port itself. */
  readonly socketPath: string | null;
  /** Workerd's. */
  readonly pid: number;
  /** Resolves when workerd has ended, for whatever reason, and its folder and port are free again. */
  readonly exited: Promise<Exit>;
  /** Ends workerd in order, and with force if that takes more than a few seconds. */
  stop(): Promise<void>;
  /** Ends workerd as a crash would, with SIGKILL. */
  kill(): Promise<void>;
  /** Workerd's resident memory; undefined where there is no /proc. */
  memoryBytes(): number | undefined;
}

const OWN_ENTRY = join(import.meta.dirname, '../worker/index.ts');
const READY_TIMEOUT_MS = 20_000;
const STOP_TIMEOUT_MS = 3_000;

/** Resolves when the registry answers. Throws a StartFailure that says what stands in the way. */
export async function startMachine(options: MachineOptions): Promise<Machine> {
  const host = options.host ?? '127.0.0.1';
  await checkAddress(host, options.port ?? 0);
  const folder = await openStateFolder(resolve(options.stateDir));
  const socket = options.isBehindTls ? privateSocket(folder.run, 'registry.sock') : null;
  const socketPath = socket?.path ?? null;
  let syncs: SyncService | undefined;
  let workerd: Workerd;
  const release = (inOrder: boolean) => {
    syncs?.close();
    socket?.remove();
    folder.lock.release(inOrder);
  };
  try {
    // Workerd would make these itself, but would not sync the folders that name them.
    for (const name of STATE_FOLDERS) {
      makeFolder(join(folder.state, name));
      removeEmptied(join(folder.state, name));
    }
    makeFolder(join(folder.blobs, 'blobs'));
    syncs = await startSyncService(folder.blobs, folder.run);
    workerd = runWorkerd(writeConfiguration(folder, socketPath, host, syncs, options), folder.lock.fd);
    folder.lock.alsoHeldBy(workerd.pid);
  } catch (error) {
    release(false);
    throw error;
  }

  const exited = workerd.exited.then(
    (exit) => {
      release(exit.code === 0);
      return exit;
    },
    (error: unknown) => {
      release(false);
      throw error;
    },
  );
  const end = async (signal: 'SIGTERM' | 'SIGKILL') => {
    const impatience = setTimeout(() => workerd.signal('SIGKILL'), STOP_TIMEOUT_MS);
    workerd.signal(signal);
    await exited;
    clearTimeout(impatience);
  };
  try {
    const port = await Promise.race([
      workerd.listening,
      exited.then((exit) => Promise.reject(endedEarly(exit, host, options.port ?? 0))),
    ]);
    const url = `http://${hostAndPort(reachableHost(host), port)}`;
    await Promise.race([
      untilItAnswers(url, socketPath),
      exited.then((exit) => Promise.reject(endedEarly(exit, host, port))),
    ]);
    if (options.onOutput !== undefined) workerd.onOutput(options.onOutput);
    return {
      url,
      port,
      socketPath,
      pid: workerd.pid,
      exited,
      stop: () => end('SIGTERM'),
      kill: () => end('SIGKILL'),
      memoryBytes: () => residentBytes(workerd.pid),
    };
  } catch (error) {
    await end('SIGKILL');
    throw error;
  }
}

function writeConfiguration(
  folder: StateFolder,
  socketPath: string | null,
  host: string,
  syncs: SyncService,
  options: MachineOptions,
): string {
  const modules = bundle(options.entry ?? OWN_ENTRY);
  for (const { name, contents } of modules) writeFileSync(join(folder.run, name), contents);
  const path = join(folder.run, 'config.capnp');
  // The settings in it may be secrets. A mode holds only for a file that is made, and not for one that was there.
  rmSync(path, { force: true });
  writeFileSync(
    path,
    configuration({
      address: socketPath === null ? hostAndPort(host, options.port ?? 0) : `unix:${socketPath}`,
      modules,
      stateFolder: folder.state,
      blobsFolder: folder.blobs,
      vars: {
        ...openFiles(),
        BOUND_NAMES: boundNames(host).join(','),
        ...(folder.lock.disturbed && { DISTURBED: 'true' }),
        ...options.vars,
      },
      services: {
        // What takes the folder's place syncs by its own means.
        ...(options.services?.DISK === undefined ? { SYNC: syncs.address } : {}),
        ...options.services,
      },
    }),
    { mode: 0o600, flag: 'wx' },
  );
  return path;
}

function openFiles(): { OPEN_FILES?: string } {
  const limit = openFilesMax();
  return Number.isFinite(limit) ? { OPEN_FILES: String(limit) } : {};
}

/** How many files workerd may have open: Node raises its limit as far as it may, and hands that on. Infinity for any number. */
export function openFilesMax(): number {
  const { report } = process;
  // The names of the machine's addresses would be looked up.
  Object.assign(report, { excludeNetwork: true });
  const { userLimits } = report.getReport() as { userLimits?: { open_files?: { soft: number | string } } };
  const limit = Number(userLimits?.open_files?.soft);
  return Number.isNaN(limit) ? Number.POSITIVE_INFINITY : limit;
}

// A refusal (401) is an answer too; an error of the server's own is a registry that does not work, and says why.
function untilItAnswers(url: string, socketPath: string | null): Promise<void> {
  return new Promise((resolve, reject) => {
    const options = {
      agent: false,
      timeout: READY_TIMEOUT_MS,
      headers: { [PROTOCOL_HEADER]: 'https', [CF_HEADER]: JSON.stringify({ clientIp: '127.0.0.1' }) },
    };
    const request = get(
      `${url}/v2/`,
      socketPath === null ? options : { ...options, socketPath },
      async (response) => {
        const { statusCode = 500 } = response;
        let body = '';
        for await (const piece of response.setEncoding('utf8')) body += piece;
        if (statusCode < 500) resolve();
        else reject(new StartFailure(`The registry answers GET /v2/ with ${statusCode}: ${messageIn(body)}`));
      },
    );
    request.on('timeout', () => request.destroy(new StartFailure('The registry does not answer GET /v2/.')));
    request.on('error', reject);
  });
}

/** What an error in the specification's shape says, or the body as it is. */
function messageIn(body: string): string {
  try {
    const { errors } = JSON.parse(body) as { errors: { message: string }[] };
    return errors.map(({ message }) => message).join('\n');
  } catch {
    return body;
  }
}

function endedEarly(exit: Exit, host: string, port: number): StartFailure {
  if (/address already in use/i.test(exit.stderr)) return portInUse(host, port);
  return new StartFailure(
    `workerd ended before it answered (${exit.signal ?? `code ${exit.code}`}).\n${exit.stderr}`,
  );
}

function residentBytes(pid: number): number | undefined {
  try {
    const line = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
    return line?.[1] === undefined ? undefined : Number(line[1]) * 1024;
  } catch {
    return undefined;
  }
}
