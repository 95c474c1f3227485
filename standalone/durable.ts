// Files and folders that must survive a power cut. A new one is safe only after its parent folder was synced too.
import { closeSync, fsyncSync, mkdirSync, openSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { systemErrorCode } from './failure.ts';

/** Creates a folder and its missing parents, and syncs them. */
export function makeFolder(path: string, mode?: number): void {
  const first = mkdirSync(path, { recursive: true, ...(mode === undefined ? {} : { mode }) });
  if (first === undefined) return;
  const top = dirname(resolve(first));
  for (let folder = dirname(resolve(path)); ; folder = dirname(folder)) {
    syncFolder(folder);
    if (folder === top || folder === dirname(folder)) return;
  }
}

/** Syncs the names in a folder, not the contents of its files. */
export function syncFolder(path: string): void {
  let folder: number;
  try {
    folder = openSync(path, 'r');
  } catch (error) {
    if (isNeedless(error)) return;
    throw error;
  }
  try {
    fsyncSync(folder);
  } catch (error) {
    if (!isNeedless(error)) throw error;
  } finally {
    closeSync(folder);
  }
}

/** Some file systems, and Windows, cannot sync folders. They keep the names with the files. */
export function isNeedless(error: unknown): boolean {
  const code = systemErrorCode(error) ?? '';
  return code === 'EINVAL' || (process.platform === 'win32' && ['EPERM', 'EISDIR', 'EACCES'].includes(code));
}
