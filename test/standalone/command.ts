// The command behind `npm start`, run as people run it: with an environment of its own, ended after the
// test, and with all that it prints.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { until } from './temporary.ts';

export const COMMAND = join(import.meta.dirname, '../../standalone/start.ts');

export interface Command {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly code: Promise<number | null>;
  stdout: string;
  stderr: string;
}

export interface Started extends Command {
  readonly port: number;
  /** Without a slash at its end. */
  readonly url: string;
}

/** What a command needs of the environment of the tests. With the cache, Node does not compile the command's modules at each start. */
const { PATH, NODE_COMPILE_CACHE } = process.env;

export function run(t: TestContext, env: Record<string, string>, cwd?: string): Command {
  return spawned(t, process.execPath, [COMMAND], env, cwd);
}

export function spawned(
  t: TestContext,
  program: string,
  args: string[],
  env: Record<string, string>,
  cwd?: string,
): Command {
  const child = spawn(program, args, {
    // Settings of the machine that runs the tests are not the tests'.
    env: { PATH, NODE_COMPILE_CACHE, PORT: '0', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(cwd !== undefined && { cwd }),
  });
  t.after(() => child.kill('SIGKILL'));
  const code = once(child, 'close').then(([exitCode]) => exitCode);
  const command: Command = { child, pid: child.pid ?? 0, code, stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (chunk) => {
    command.stdout += chunk;
  });
  child.stderr.setEncoding('utf8').on('data', (chunk) => {
    command.stderr += chunk;
  });
  return command;
}

export async function started(t: TestContext, env: Record<string, string>, cwd?: string): Promise<Started> {
  const command = run(t, env, cwd);
  await until(t, () => command.stdout.includes('docker pull') || command.child.exitCode !== null);
  const [, url, port] = /(https?:\/\/\S+:(\d+))/.exec(command.stdout) ?? [];
  assert.ok(url !== undefined, command.stderr);
  return Object.assign(command, { url, port: Number(port) });
}

/** A message, not a stack trace: two lines at most, and nothing on standard output. */
export async function refused(t: TestContext, env: Record<string, string>, want: RegExp): Promise<void> {
  const command = run(t, env);
  assert.equal(await command.code, 1);
  assert.match(command.stderr, want);
  assert.ok(command.stderr.trimEnd().split('\n').length <= 2, command.stderr);
  assert.equal(command.stdout, '');
}
