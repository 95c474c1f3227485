// Runs workerd as a child process, reads its output, and makes sure that it ends when this process ends.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { StartFailure } from './failure.ts';

const require = createRequire(import.meta.url);

export interface Workerd {
  readonly pid: number;
  /** Resolves with the port when workerd listens. Stays pending if workerd ends before. */
  readonly listening: Promise<number>;
  readonly exited: Promise<Exit>;
  signal(signal: 'SIGTERM' | 'SIGKILL'): void;
  /** Calls the listener with the last part of the standard error so far, then with all further output. */
  onOutput(listener: (chunk: string) => void): void;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** The last part of workerd's standard error. */
  readonly stderr: string;
}

const STDERR_KEPT_CHARACTERS = 8_192;
const CONTROL_FD = 3;

/** Variables that workerd gets. Others may be secrets of other programs. */
const ENVIRONMENT = ['LD_LIBRARY_PATH', 'SSL_CERT_DIR', 'SSL_CERT_FILE', 'TMPDIR', 'TZ'];

/** Workerd inherits `lockFds`, so that the folder stays locked until both processes have ended. */
export function runWorkerd(config: string, lockFds: readonly number[]): Workerd {
  const child = spawn(workerdBinary(), ['serve', config, `--control-fd=${CONTROL_FD}`], {
    stdio: ['ignore', 'pipe', 'pipe', 'pipe', ...lockFds],
    env: Object.fromEntries(ENVIRONMENT.map((name) => [name, process.env[name]])),
    // A process group of its own, so that Ctrl-C reaches only this process, which then stops workerd cleanly.
    detached: true,
  });
  const { stdout, stderr } = child;
  // Node's types do not know which end of a further pipe this is.
  const control = child.stdio[CONTROL_FD] as Readable;
  // No pid means that the program could not be started. `exited` reports it.
  const pid = child.pid ?? 0;
  endWithThisProcess(child, pid);

  let kept = '';
  const listeners: ((chunk: string) => void)[] = [];
  for (const stream of [stdout, stderr]) {
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      if (stream === stderr) kept = (kept + chunk).slice(-STDERR_KEPT_CHARACTERS);
      for (const listener of listeners) listener(chunk);
    });
  }
  return {
    pid,
    listening: listeningPort(control),
    exited: once(child, 'close').then(([code, signal]) => ({ code, signal, stderr: kept.trim() })),
    signal: (signal) => {
      child.kill(signal);
    },
    onOutput: (listener) => {
      if (kept !== '') listener(kept);
      listeners.push(listener);
    },
  };
}

/**
 * The path of workerd. The main module of the package finds the binary of this platform, even if npm runs no install scripts.
 * Throws a StartFailure if there is no binary.
 */
export function workerdBinary(): string {
  try {
    return (require('workerd') as { default: string }).default;
  } catch (error) {
    throw new StartFailure(
      `workerd is not installed for this platform.\n${error instanceof Error ? error.message : error}`,
    );
  }
}

function listeningPort(control: Readable): Promise<number> {
  return new Promise((resolve) => {
    createInterface(control).on('line', (line) => {
      const message = JSON.parse(line) as { event: string; port?: number };
      if (message.event === 'listen' && message.port !== undefined) resolve(message.port);
    });
  });
}

// A process that is killed with SIGKILL cannot stop its children, so a small shell does it. The shell reads from a pipe that
// only this process holds open. The pipe closes when this process ends in any way, and the shell then kills workerd.
function endWithThisProcess(child: ChildProcess, pid: number): void {
  if (pid === 0 || process.platform === 'win32') return;
  const guard = spawn('/bin/sh', ['-c', 'read -r _; kill -KILL "$1"', 'sh', String(pid)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    env: {},
    detached: true,
  });
  guard.on('error', () => {});
  guard.unref();
  child.once('exit', () => guard.kill('SIGKILL'));
}
