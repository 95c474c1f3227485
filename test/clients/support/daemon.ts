// Runs a program that stays: the daemons that some clients need, and the development server.
// It counts as started when it answers, it is stopped gently and then for certain, and its log is kept for failures.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';

export interface Daemon {
  /** All that it wrote so far, both streams together. */
  log(): string;
  stop(): Promise<void>;
}

export interface DaemonCommand {
  program: string;
  args: readonly string[];
  env: Record<string, string>;
  cwd: string;
  /** Asked again and again until it says yes; throwing counts as no. */
  ready: (log: string) => Promise<boolean> | boolean;
}

const START_DEADLINE_MS = 120_000;
const STOP_DEADLINE_MS = 30_000;
const POLL_INTERVAL_MS = 50;

export async function startDaemon(command: DaemonCommand): Promise<Daemon> {
  // A group of its own: whatever the program starts can be ended with it.
  const child = spawn(command.program, command.args, {
    cwd: command.cwd,
    env: command.env,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let log = '';
  let failure: Error | undefined;
  child.on('error', (error) => {
    failure = error;
  });
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (bytes: Buffer) => {
      log += bytes.toString();
    });
  }
  const { pid } = child;
  const killGroup = () => {
    try {
      if (pid !== undefined) process.kill(-pid, 'SIGKILL');
    } catch {
      // Nothing of the group is left, as it should be.
    }
  };
  // A run that is interrupted skips its hooks, and must leave no daemon behind all the same.
  process.once('exit', killGroup);
  const ended = () => failure !== undefined || child.exitCode !== null || child.signalCode !== null;

  const stop = async () => {
    if (!ended()) {
      const exit = once(child, 'exit');
      child.kill('SIGTERM');
      await Promise.race([exit, delay(STOP_DEADLINE_MS, undefined, { ref: false })]);
    }
    killGroup();
    process.off('exit', killGroup);
  };

  const deadline = Date.now() + START_DEADLINE_MS;
  while (!(await answers(command, log))) {
    if (ended() || Date.now() > deadline) {
      await stop();
      const what = ended() ? 'ended before it was ready' : 'was not ready in time';
      throw new Error(`${command.program} ${what}: ${failure?.message ?? ''}\n${log.slice(-4000)}`);
    }
    await delay(POLL_INTERVAL_MS);
  }
  return { log: () => log, stop };
}

async function answers(command: DaemonCommand, log: string): Promise<boolean> {
  try {
    return await command.ready(log);
  } catch {
    return false;
  }
}
