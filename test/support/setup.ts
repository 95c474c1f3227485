/** Runs once before all test files of `npm test`, and once after them (`--test-global-setup`). */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bundle } from '../../standalone/bundle.ts';

/** The registry as the tests run it. */
export const WORKER = join(import.meta.dirname, 'worker.ts');
/** The variable of the environment that tells test files where `WORKER` is as one module. */
export const BUNDLED_WORKER = 'LONGSHORE_TEST_WORKER';

let folder: string | undefined;

export function globalSetup(): void {
  folder = mkdtempSync(join(tmpdir(), 'longshore-worker-'));
  const modules = bundle(WORKER);
  for (const { name, contents } of modules) writeFileSync(join(folder, name), contents);
  process.env[BUNDLED_WORKER] = join(folder, modules[0]?.name ?? '');
}

export function globalTeardown(): void {
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
}
