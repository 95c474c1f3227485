// What the commands that move images share: options, progress, signals, and the result on standard output.
import { escapedJson } from '../worker/oci/printable.ts';
import { goOnWithoutOutput } from './closed-output.ts';
import { type Context, text } from './command.ts';
import { CommandFailure, EXIT } from './failure.ts';
import { openProgress } from './progress/progress.ts';
import type { Listener, Summary } from './transfer/events.ts';

export interface TransferOptions {
  json: boolean;
  quiet: boolean;
}

/** Options of every command that moves images. */
export const TRANSFER_OPTIONS = {
  json: { kind: 'boolean', default: false, withNegated: false, brief: 'Print every event as a line of JSON' },
  quiet: { kind: 'boolean', default: false, withNegated: false, brief: 'Print only the result and errors' },
} as const;

export const TRANSFER_ALIASES = { q: 'quiet' } as const;

export const PLATFORM_OPTION = text(
  'Only this platform of an image with several, such as linux/arm64',
  'platform',
);

export interface Platform {
  platform: string | undefined;
}

export const JOBS_OPTION = {
  kind: 'parsed',
  parse: jobsOf,
  default: '4',
  brief: 'Large blobs that are sent at once, 1 to 32',
  placeholder: 'count',
} as const;

export interface Jobs {
  jobs: number;
}

export const EXIT_CODES = `Exit codes: 0 done, 1 failed, 2 wrong use, 3 the registry refused the credentials or they allow too little, 4 the registry
cannot be reached. 130 and 143: interrupted (SIGINT, SIGTERM).`;

const SIGNALS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/** What `work` gets. */
export interface Transfer {
  /** Aborted by SIGINT, SIGTERM and SIGHUP. */
  readonly signal: AbortSignal;
  readonly listen: Listener;
  readonly note: (message: string) => void;
}

/** Runs `work` with progress, and prints the image of its summary. `advice` is printed after a signal: how to continue. */
export async function transfer(
  context: Context,
  { json, quiet }: TransferOptions,
  advice: string,
  work: (transfer: Transfer) => Promise<Summary>,
): Promise<void> {
  goOnWithoutOutput();
  const { stdout, stderr, env } = process;
  const progress = openProgress({ json, quiet, output: stdout, errors: stderr, env });
  const { listen } = progress;
  const signals = watchSignals(advice);
  try {
    const { image } = await work({
      signal: signals.signal,
      listen,
      note: (message) => listen({ event: 'note', message }),
    });
    progress.end();
    if (!json) context.print(`${image}\n`);
  } catch (error) {
    progress.end();
    if (json && error instanceof CommandFailure)
      stdout.write(`${escapedJson({ event: 'error', message: error.message, exitCode: error.exitCode })}\n`);
    throw error;
  } finally {
    signals.end();
  }
}

/** Runs `work`, then disposes of what it used. */
export async function disposing<T>(used: readonly AsyncDisposable[], work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } finally {
    for (const one of used) await one[Symbol.asyncDispose]();
  }
}

/** The first signal ends the work in order, the second one at once. */
function watchSignals(advice: string): { signal: AbortSignal; end(): void } {
  const controller = new AbortController();
  const handlers = Object.entries(SIGNALS).map(([name, exitCode]) => {
    const handler = () => {
      if (controller.signal.aborted) process.exit(exitCode);
      controller.abort(new CommandFailure(`Interrupted.\n${advice}`, exitCode));
    };
    process.on(name, handler);
    return { name, handler };
  });
  return {
    signal: controller.signal,
    end() {
      for (const { name, handler } of handlers) process.off(name, handler);
    },
  };
}

function jobsOf(value: string): number {
  const jobs = /^\d{1,2}$/.test(value) ? Number(value) : 0;
  if (jobs < 1 || jobs > 32) throw new Error('use a number from 1 to 32');
  return jobs;
}

/** Throws a CommandFailure of wrong use. */
export function usage(message: string): never {
  throw new CommandFailure(message, EXIT.usage);
}
