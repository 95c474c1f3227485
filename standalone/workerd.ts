// The workerd process: how it is run, what it says, and that it never outlives the process that
// started it.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { StartFailure } from './failure.ts';

const require = createRequire(import.meta.url);

export interface Workerd {
  readonly pid: number;
  /** Resolves with the port that it listens on, once it does; pending for ever if it ends before. */
  readonly listening: Promise<number>;
  readonly exited: Promise<Exit>;
  signal(signal: 'SIGTERM' | 'SIGKILL'): void;
  /** Hears what was printed as an error, the end of it, and everything that is printed from now on. */
  onOutput(listener: (chunk: string) => void): void;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** The end of what workerd wrote to its standard error. */
  readonly stderr: string;
}

const STDERR_KEPT_CHARACTERS = 8_192;
const CONTROL_FD = 3;

/** What workerd is told of our environment, which may hold secrets of other programs. */
const ENVIRONMENT = ['LD_LIBRARY_PATH', 'SSL_CERT_DIR', 'SSL_CERT_FILE', 'TMPDIR', 'TZ'];

/** `lockFd` is open in workerd as well, so that the folder stays locked for as long as either of us lives. */
export function runWorkerd(config: string, lockFd: number): Workerd {
  const child = spawn(workerdBinary(), ['serve', config, `--control-fd=${CONTROL_FD}`], {
    stdio: ['ignore', 'pipe', 'pipe', 'pipe', lockFd],
    env: Object.fromEntries(ENVIRONMENT.map((name) => [name, process.env[name]])),
    // In a process group of its own it does not hear the terminal's Ctrl-C: its parent does, and ends it in order.
    detached: true,
  });
  const { stdout, stderr } = child;
  // Node's types do not know which end of a further pipe this is.
  const control = child.stdio[CONTROL_FD] as Readable;
  // Without a pid there was no such program, of which `exited` tells.
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
 * The path of workerd. The package's main module knows where this platform's binary is, also if npm was told to run no
 * scripts. Throws a StartFailure where there is none.
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

// A process that is killed with SIGKILL can end nothing, so a shell of a megabyte does it: it waits for
// the end of a pipe that only we hold open, which comes with our end, whatever that was.
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
