/**
 * Finds the image that a person named:
 *
 *   NAME                            an image of docker, else of podman
 *   docker:NAME                     an image of docker
 *   podman:NAME                     an image of podman
 *   containerd:NAME                 an image of containerd
 *   oci:PATH[:TAG]                  an OCI layout, a folder or an archive
 *   docker-archive:PATH[:NAME]      what docker save wrote
 *   registry:HOST/REPOSITORY:TAG    an image of a registry
 *   PATH                            an archive, or the folder of a layout
 *   -                               an archive on standard input
 */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { CommandFailure } from '../failure.ts';
import { credentialsFor } from './credentials.ts';
import { Registry } from './registry.ts';
import type { Source, SourceOptions } from './source.ts';
import { openContainerdImage } from './sources/containerd.ts';
import { parsePlatform } from './sources/descriptor.ts';
import { type EngineName, EngineUnreachable, enginesOf, findImage, openImage } from './sources/engine.ts';
import { folderFiles } from './sources/folder.ts';
import { layoutSource } from './sources/layout.ts';
import { isArchive, openArchiveFile, openArchiveStream } from './sources/open-archive.ts';
import { registrySource } from './sources/registry.ts';
import { parseTarget } from './target.ts';

const SCHEME = /^(docker|podman|containerd|oci|oci-archive|docker-archive|registry):(.*)$/s;

/**
 * Opens the source. Dispose of it at the end: that frees its temporary files.
 *
 * Throws a CommandFailure if there is no such image.
 */
export async function openSource(image: string, options: SourceOptions): Promise<Source> {
  if (options.platform !== undefined) parsePlatform(options.platform);
  const [, scheme, rest = ''] = SCHEME.exec(image) ?? [];
  if (image === '' || (scheme !== undefined && rest === '')) {
    throw new CommandFailure(
      `${JSON.stringify(image)} does not name an image.\nUse a name such as app:1.0, or a path.`,
    );
  }
  switch (scheme) {
    case 'docker':
    case 'podman':
      return openEngineImage(rest, [scheme], options);
    case 'containerd':
      return openContainerdImage(plainName(rest), options);
    case 'oci':
    case 'oci-archive':
    case 'docker-archive':
      return openPath(await splitPath(rest), options);
    case 'registry':
      return openRegistryImage(rest, options);
  }
  if (image === '-') return openStandardInput(options);
  if (await isPath(image)) return openPath(await splitPath(image), options);
  return openEngineImage(image, ['docker', 'podman'], options);
}

interface Located {
  path: string;
  reference: string | null;
}

/** Asks the engines in turn. */
async function openEngineImage(
  image: string,
  names: readonly EngineName[],
  options: SourceOptions,
): Promise<Source> {
  plainName(image);
  const reasons: string[] = [];
  for (const name of names) {
    for (const engine of await enginesOf(name, options.env)) {
      try {
        const found = await findImage(engine, image, options.signal);
        if (found !== null) return await openImage(found, options);
        reasons.push(`${name} (${engine.address}) does not have it.`);
      } catch (error) {
        if (!(error instanceof EngineUnreachable)) throw error;
        reasons.push(error.message.split('\n')[0] ?? '');
      }
    }
  }
  const file = `./${image.replace(/[:/].*/, '')}.tar`;
  throw new CommandFailure(
    `The image ${image} was not found.\n${reasons.join('\n')}\nCheck the name with "${names[0]} image ls", and that ${names[0]} runs. For a file, give its path, such as ${file}.`,
  );
}

async function openRegistryImage(text: string, options: SourceOptions): Promise<Source> {
  const target = parseTarget(text);
  const { signal, report, env } = options;
  const credentials = await credentialsFor(target, env, report);
  return registrySource(
    new Registry({ origin: target.origin, credentials, signal, report }),
    target,
    options,
  );
}

async function openStandardInput(options: SourceOptions): Promise<Source> {
  if (process.stdin.isTTY) {
    throw new CommandFailure(
      'Standard input is a terminal, not an archive.\nUse a pipe: docker save app:1.0 | longshore push - ...',
    );
  }
  const settings = {
    ...options,
    name: 'the archive on standard input',
    reference: null,
    takesOnlyPresent: true,
  };
  return openArchiveStream({ stream: process.stdin, env: options.env }, settings);
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
  if (reference === '') {
    throw new CommandFailure(
      `Nothing follows the colon behind ${path}.\nName a tag of the image, or leave out the colon.`,
    );
  }
  const settings = { ...options, reference, takesOnlyPresent: false };
  if (!(await stat(path)).isDirectory()) {
    return openArchiveFile(path, { ...settings, name: `the archive ${path}` });
  }
  const name = `the layout ${path}`;
  return layoutSource(folderFiles(path), { ...settings, name });
}

/**
 * Whether a text without a scheme is a path. A folder with the name of an image is often its source code, and a file with this name its
 * program.
 */
async function isPath(text: string): Promise<boolean> {
  if (/^(?:[./~\\]|[a-zA-Z]:[\\/])|\.(?:tar|tgz|tar\.\w+)$/.test(text)) return true;
  try {
    const found = await stat(text);
    return found.isDirectory() ? await exists(join(text, 'index.json')) : await isArchive(text);
  } catch {
    return false;
  }
}

/** The name goes to another program or into a URL. */
function plainName(name: string): string {
  if (/^[a-zA-Z0-9][\w.:/@+-]{0,500}$/.test(name) && !name.includes('..')) return name;
  throw new CommandFailure(
    `${JSON.stringify(name.slice(0, 200))} is not the name of an image.\nUse a name such as app:1.0, or a path such as ./app.tar.`,
  );
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
