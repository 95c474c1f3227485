/**
 * Finds the image that a person named:
 *
 *   oci:PATH[:TAG]     an OCI layout, a folder or an archive
 *   PATH               a folder or a file that exists
 */
import { stat } from 'node:fs/promises';
import { CommandFailure } from '../failure.ts';
import type { Source, SourceOptions } from './source.ts';
import { folderFiles } from './sources/folder.ts';
import { layoutSource } from './sources/layout.ts';

/**
 * Opens the source. Dispose of it at the end: that deletes its temporary files.
 *
 * Throws a CommandFailure if there is no such image.
 */
export async function openSource(image: string, options: SourceOptions): Promise<Source> {
  const scheme = /^([a-z-]+):/.exec(image)?.[1];
  if (scheme === 'oci') return openPath(await splitPath(image.slice('oci:'.length)), options);
  return openPath(await splitPath(image), options);
}

interface Located {
  path: string;
  reference: string | null;
}

/** A path and what follows it. A path can have colons, so the longest path that exists is taken. */
async function splitPath(text: string): Promise<Located> {
  let path = text;
  while (path !== '') {
    if (await exists(path)) return { path, reference: path === text ? null : text.slice(path.length + 1) };
    const at = Math.max(path.lastIndexOf(':'), path.lastIndexOf('@'));
    path = at === -1 ? '' : path.slice(0, at);
  }
  throw new CommandFailure(`There is no file or folder ${text}.\nCheck the path.`);
}

async function openPath({ path, reference }: Located, options: SourceOptions): Promise<Source> {
  const name = reference === null ? path : `${path}:${reference}`;
  return layoutSource(folderFiles(path), { ...options, name, reference, takesOnlyPresent: false });
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
