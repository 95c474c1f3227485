// What has to outlive a power cut: a new file or folder is safe only when the folder that names it has been
// synced too.
import { closeSync, fsyncSync, mkdirSync, openSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { systemErrorCode } from './failure.ts';

/** Makes a folder with its parents, where they are missing, so that they survive a power cut. */
export function makeFolder(path: string, mode?: number): void {
  const first = mkdirSync(path, { recursive: true, ...(mode === undefined ? {} : { mode }) });
  if (first === undefined) return;
  const top = dirname(resolve(first));
  for (let folder = dirname(resolve(path)); ; folder = dirname(folder)) {
    syncFolder(folder);
    if (folder === top || folder === dirname(folder)) return;
  }
}

/** Makes the names in a folder safe: those of its files and folders, not their contents. */
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

/** Some file systems, and Windows, do not sync folders: there the names are safe with the files. */
export function isNeedless(error: unknown): boolean {
  const code = systemErrorCode(error) ?? '';
  return code === 'EINVAL' || (process.platform === 'win32' && ['EPERM', 'EISDIR', 'EACCES'].includes(code));
}
