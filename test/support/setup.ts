/** Runs once before all test files of `npm test`, and once after them (`--test-global-setup`). */
import { mkdirSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { freemem, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { bundle } from '../../standalone/bundle.ts';

/** The registry as the tests run it. */
export const WORKER = join(import.meta.dirname, 'worker.ts');
/** The variable of the environment that tells test files the folder of `WORKER` as it is bundled. */
export const BUNDLED_WORKER = 'LONGSHORE_TEST_WORKER';
/** The same of the registry as people run it. */
export const BUNDLED_REGISTRY = 'LONGSHORE_TEST_REGISTRY';
const REGISTRY = join(import.meta.dirname, '../../worker/index.ts');

/** The file system in memory that Linux has, and the name of a folder in it: podman takes no path of more than 50 characters. */
const IN_MEMORY = '/dev/shm/t-';
/** More than the files of all tests that run at once: the largest are six uploads of 256 MiB. */
const FILES_MAX_BYTES = 6 * 1024 ** 3;

let folder: string | undefined;

export function globalSetup(): void {
  // The registry syncs all that it writes, so on a disk the tests would wait for that most of their time.
  const inMemory = hasMemoryForFiles();
  folder = mkdtempSync(inMemory ? IN_MEMORY : join(tmpdir(), 'longshore-worker-'));
  if (inMemory) process.env.TMPDIR = folder;
  // Else every file would compile Miniflare and the tests' support again.
  process.env.NODE_COMPILE_CACHE ??= join(folder, 'compiled');
  process.env[BUNDLED_WORKER] = bundleInto(join(folder, 'worker'), WORKER);
  process.env[BUNDLED_REGISTRY] = bundleInto(join(folder, 'registry'), REGISTRY);
}

/** Writes the modules of a Worker into a new folder, and returns it. */
function bundleInto(folder: string, entry: string): string {
  mkdirSync(folder);
  for (const { name, contents } of bundle(entry)) writeFileSync(join(folder, name), contents);
  return folder;
}

/** TMPDIR in the environment is a choice that stands. */
function hasMemoryForFiles(): boolean {
  if (process.env.TMPDIR !== undefined) return false;
  try {
    const { bavail, bsize } = statfsSync(dirname(IN_MEMORY));
    return Math.min(bavail * bsize, freemem()) > FILES_MAX_BYTES;
  } catch {
    return false; // Only Linux has it.
  }
}

export function globalTeardown(): void {
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
}
