// The files of an image in a folder.
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { CommandFailure } from '../../failure.ts';
import { fileContent, type ImageFiles, unreadable } from './content.ts';
import { sourceFailure } from './failure.ts';

/**
 * Reads the files of an OCI layout. Symbolic links are followed, also out of the folder, because build tools make layouts of them.
 * What is sent is either parsed or has a digest, so a link cannot make the command send another file.
 */
export function folderFiles(path: string): ImageFiles {
  return {
    name: `the folder ${path}`,
    async find(relative) {
      const full = join(path, relative);
      try {
        const found = await stat(full);
        // Opening a pipe would wait forever.
        if (!found.isFile()) throw sourceFailure(`${full} is not a file.\nWrite the layout again.`);
        return { path: relative, ...fileContent(full, found) };
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code === 'ENOENT' || code === 'ENOTDIR') return null;
        throw error instanceof CommandFailure ? error : unreadable(full, error);
      }
    },
    async complete() {},
    async [Symbol.asyncDispose]() {},
  };
}
