// Finds the real client programs and runs them: each with a home folder of its own, so that nothing
// which a person has configured on the machine takes part, and with its output kept for the failure message.
import { spawn } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { test } from 'node:test';

/** Runs the program with these arguments and answers what it wrote to its standard output, as it is. */
export type Client = (args: readonly string[], options?: RunOptions) => Promise<string>;

export interface RunOptions {
  cwd?: string;
  env?: Record<string, string>;
  input?: string | Uint8Array;
  /** The bytes of standard output go here instead of into the answer. */
  onOutput?: (bytes: Uint8Array) => void;
  /** Hears the standard error too, which is otherwise only kept for a failure. */
  onError?: (bytes: Uint8Array) => void;
  /** Ends the program. */
  signal?: AbortSignal;
}

/** A hung client is a failure with a name, not a run that never ends. */
const DEADLINE_MS = 10 * 60_000;

/**
 * The options of a suite that cannot run without these programs: it is skipped loudly, and in CI it fails.
 * The name `root` means that the tests run as root, without which some of them can do nothing.
 */
export function needs(...names: readonly string[]): { skip?: string } {
  const isThere = (name: string) => (name === 'root' ? process.getuid?.() === 0 : find(name) !== undefined);
  const missing = names.filter((name) => !isThere(name));
  if (missing.length === 0) return {};
  const message = `missing: ${missing.join(', ')} (.ci/install-clients installs them)`;
  if (process.env.CI) throw new Error(`${message}; with CI set nothing may be skipped`);
  console.error(`SKIPPED, ${message}`);
  // The runner counts skipped tests, but not skipped suites: one of each, so that its summary shows it.
  test(`everything that needs ${missing.join(', ')}`, { skip: message });
  return { skip: message };
}

/** The program `name`, at home in the folder `home`, with `first` in front of every command's arguments. */
export function client(name: string, home: string, first: readonly string[] = []): Client {
  return (args, options = {}) => run(located(name), [...first, ...args], home, options);
}

/** The program's path. */
export function located(name: string): string {
  const path = find(name);
  if (path === undefined) throw new Error(`${name} is not installed: .ci/install-clients installs it`);
  return path;
}

/** The environment in which a client meets no setting and no credential of the person who runs the tests. */
export function environment(home: string): Record<string, string> {
  return {
    PATH: process.env.PATH ?? '',
    HOME: home,
    XDG_CONFIG_HOME: join(home, '.config'),
    XDG_CACHE_HOME: join(home, '.cache'),
    XDG_RUNTIME_DIR: home,
    TMPDIR: home,
  };
}

/** The installer's folder comes before PATH, where Debian's Docker brings a much older containerd and ctr. */
function find(name: string): string | undefined {
  const installed = process.env.LONGSHORE_CLIENTS ?? join(homedir(), '.cache', 'longshore-clients');
  const folders = [installed, ...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.map((folder) => join(folder, name)).find(isProgram);
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

function run(program: string, args: readonly string[], home: string, options: RunOptions): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const child = spawn(program, args, {
    cwd: options.cwd ?? home,
    env: { ...environment(home), ...options.env },
    timeout: DEADLINE_MS,
    killSignal: 'SIGKILL',
    ...(options.signal && { signal: options.signal }),
  });
  const output: Uint8Array[] = [];
  const errors: Uint8Array[] = [];
  child.stdout.on('data', options.onOutput ?? ((bytes: Uint8Array) => output.push(bytes)));
  child.stderr.on('data', (bytes: Uint8Array) => {
    errors.push(bytes);
    options.onError?.(bytes);
  });
  child.on('error', reject);
  child.on('close', (code, signal) => {
    const stdout = Buffer.concat(output).toString();
    if (code === 0) return resolve(stdout);
    const said = `${Buffer.concat(errors).toString()}\n${stdout}`.trim().slice(-4000);
    reject(new Error(`${program} ${args.join(' ')}\nended with ${code ?? signal}:\n${said}`));
  });
  // A program that ends without reading all its input breaks the pipe: its exit status tells more than that.
  child.stdin.on('error', () => undefined);
  child.stdin.end(options.input);
  return promise;
}
