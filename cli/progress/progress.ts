// Chooses how progress is shown.
import type { Listener } from '../transfer/events.ts';
import { jsonProgress } from './json.ts';
import { lineProgress } from './lines.ts';
import { type Terminal, terminalProgress } from './terminal.ts';

export interface Progress {
  readonly listen: Listener;
  /** Call it in every case. Lines that are printed after it stay. */
  end(): void;
}

export interface ProgressOptions {
  readonly json: boolean;
  readonly quiet: boolean;
  readonly output: { write(text: string): unknown };
  readonly errors: Terminal & { readonly isTTY?: boolean };
  readonly env: NodeJS.ProcessEnv;
}

/** `--json` writes to the output, everything else beside it. */
export function openProgress({ json, quiet, output, errors, env }: ProgressOptions): Progress {
  if (json) return jsonProgress((text) => output.write(text));
  if (quiet) return { listen: () => {}, end: () => {} };
  const isTerminal = errors.isTTY === true && env.TERM !== 'dumb' && !env.CI;
  return isTerminal ? terminalProgress(errors) : lineProgress((text) => errors.write(text));
}
