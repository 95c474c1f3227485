/**
 * Makes the state folder of a release, for the test that every later release opens it:
 *
 *     node test/releases/make.ts <checkout of the release> test/fixtures/state-<version>.tar.gz
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type * as machine from '../../standalone/machine.ts';
import { fill, VARS } from './state.ts';

const [checkout, archive] = process.argv.slice(2);
if (checkout === undefined || archive === undefined) {
  throw new Error('say which checkout to start, and which archive to write');
}
const stateDir = mkdtempSync(join(tmpdir(), 'longshore-release-'));
try {
  const { startMachine }: typeof machine = await import(join(resolve(checkout), 'standalone/machine.ts'));
  const running = await startMachine({ stateDir, vars: VARS });
  try {
    const secrets = await fill(running.url);
    // The audit log is written after the answers.
    await fetch(new URL('/health', running.url));
    writeFileSync(join(stateDir, 'secrets.json'), JSON.stringify(secrets));
  } finally {
    await running.stop();
  }
  execFileSync('tar', ['--exclude', './run', '-czf', resolve(archive), '-C', stateDir, '.']);
} finally {
  rmSync(stateDir, { recursive: true, force: true });
}
