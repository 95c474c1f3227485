// The registry on one machine: starts workerd with the bundled Worker and a state folder, and watches it until it ends.
// `npm start`, the tests and the benchmark use it.
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
  /** The state folder. It is created if it is missing, and locked until workerd has ended. */
  readonly stateDir: string;
  /** Default: 0, for a free port. */
  readonly port?: number;
  /** Default: 127.0.0.1. `*` is every address. */
  readonly host?: string;
  /** True if a server of this process ends TLS. Workerd then listens only on a Unix socket. */
  readonly isBehindTls?: boolean;
  /** Path of the Worker's entry module, or the folder of a bundle of it. Default: Longshore's. */
  readonly entry?: string;
  /** Text bindings. */
  readonly vars?: Readonly<Record<string, string>>;
  /** Service bindings: name to the host:port of an HTTP server. One named DISK replaces the folder. */
  readonly services?: Readonly<Record<string, string>>;
  /** Called with the output of workerd and the Worker, once the registry is ready. */
  readonly onOutput?: (chunk: string) => void;
}

export interface Machine {
  /** URL of the registry, without a slash at its end. */
  readonly url: string;
  readonly port: number;
  /** The Unix socket that workerd listens on. Null if it listens on the port. */
  readonly socketPath: string | null;
  /** Process id of workerd. */
  readonly pid: number;
  /** Resolves when workerd has ended for any reason, and its folder and port are free. */
  readonly exited: Promise<Exit>;
  /** Stops workerd cleanly, or kills it if that takes more than a few seconds. */
  stop(): Promise<void>;
  /** Kills workerd with SIGKILL, as in a crash. */
  kill(): Promise<void>;
  /** Resident memory of workerd. Undefined without /proc. */
  memoryBytes(): number | undefined;
}

const OWN_ENTRY = join(import.meta.dirname, '../worker/index.ts');
const READY_TIMEOUT_MS = 20_000;
const STOP_TIMEOUT_MS = 3_000;

/** Resolves when the registry is ready. Throws a StartFailure if it cannot start. */
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
    // Workerd would create these too, but would not sync their parent folders.
    for (const name of STATE_FOLDERS) {
      makeFolder(join(folder.state, name));
      removeEmptied(join(folder.state, name));
    }
    makeFolder(join(folder.blobs, 'blobs'));
    syncs = await startSyncService(folder.blobs, folder.run);
    workerd = runWorkerd(writeConfiguration(folder, socketPath, host, syncs, options), folder.lock.fds);
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
  // The configuration can contain secrets. The mode applies only to a new file, so an old one is removed.
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
        // A service that replaces the folder does its own syncing.
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

/** Asked once, because a report takes tens of milliseconds. */
let filesMax: number | undefined;

/** How many files workerd may open. Node raises its limit to the maximum, and workerd inherits it. Infinity for no limit. */
export function openFilesMax(): number {
  filesMax ??= readOpenFilesMax();
  return filesMax;
}

function readOpenFilesMax(): number {
  const { report } = process;
  // The network part of the report would look up names in DNS.
  Object.assign(report, { excludeNetwork: true });
  const { userLimits } = report.getReport() as { userLimits?: { open_files?: { soft: number | string } } };
  const limit = Number(userLimits?.open_files?.soft);
  return Number.isNaN(limit) ? Number.POSITIVE_INFINITY : limit;
}

// A 401 shows that the registry works. An error of the 5xx range shows that it does not, and says why.
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

/** The message of an error in the OCI format, else the whole body. */
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
