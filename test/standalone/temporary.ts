// What the tests of the one-machine home share: a folder that is gone after the test, the processes
// that a process started, and waiting for what another process does.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

export function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'longshore-test-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Resolves when the condition holds; the test's own time limit ends a wait that would be for ever. */
export async function until(t: TestContext, condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(10, undefined, { signal: t.signal });
}

export function isRunning(pid: number): boolean {
  return processes().some((one) => one.pid === pid);
}

/** The pids of the processes that this one started, and that those started. */
export function descendants(pid: number): number[] {
  const all = processes();
  const below = (parent: number): number[] =>
    all.filter((one) => one.parent === parent).flatMap((one) => [one.pid, ...below(one.pid)]);
  return below(pid);
}

function processes(): { pid: number; parent: number }[] {
  const lines = execFileSync('ps', ['-A', '-o', 'pid=,ppid=,stat='], { encoding: 'utf8' }).trim().split('\n');
  return lines.flatMap((line) => {
    const [pid, parent, state] = line.trim().split(/\s+/);
    // A zombie has ended, and only waits for its parent to hear of it.
    return state?.startsWith('Z') ? [] : [{ pid: Number(pid), parent: Number(parent) }];
  });
}
