// Bundles the entry module of a Worker and its imports into one ES module. WebAssembly and the package of the client stay in files of
// their own, because workerd's configuration lists them as separate kinds of modules.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { buildSync } from 'esbuild';
import { clientPackage } from '../deploy/client-package.ts';
import { StartFailure } from './failure.ts';

export interface Module {
  /** The name by which the other modules import it; the entry is `worker.js`. */
  readonly name: string;
  readonly kind: 'esModule' | 'wasm' | 'data';
  readonly contents: Uint8Array;
}

/** The Worker imports it under this name. */
const CLIENT_PACKAGE = 'cli.tgz';

/** Bundles of this process: sources do not change while it runs, and a build takes longer than the start of workerd. */
const bundles = new Map<string, readonly Module[]>();

/**
 * The entry first, as workerd wants it. An entry that is a folder was bundled before: its files are the modules.
 * Throws a StartFailure that quotes esbuild if the sources do not build.
 */
export function bundle(entry: string): readonly Module[] {
  const made = bundles.get(entry);
  if (made !== undefined) return made;
  const isBundled = statSync(entry, { throwIfNoEntry: false })?.isDirectory() ?? false;
  const files = isBundled ? filesOf(entry) : build(entry);
  const modules = files.map(({ path, contents }): Module => {
    const name = basename(path);
    return { name, kind: kindOf(name), contents };
  });
  if (!isBundled && importsPackage(modules))
    modules.push({ name: CLIENT_PACKAGE, kind: 'data', contents: clientPackage() });
  modules.sort((one, other) => Number(one.kind !== 'esModule') - Number(other.kind !== 'esModule'));
  bundles.set(entry, modules);
  return modules;
}

function importsPackage(modules: readonly Module[]): boolean {
  return modules.some(
    ({ kind, contents }) => kind === 'esModule' && Buffer.from(contents).includes(`./${CLIENT_PACKAGE}`),
  );
}

function kindOf(name: string): Module['kind'] {
  if (name === CLIENT_PACKAGE) return 'data';
  return name.endsWith('.wasm') ? 'wasm' : 'esModule';
}

function filesOf(folder: string): { path: string; contents: Uint8Array }[] {
  return readdirSync(folder).map((name) => ({ path: name, contents: readFileSync(join(folder, name)) }));
}

// The synchronous build ends its esbuild process before it returns. The asynchronous one would leave a process to stop.
function build(entry: string): { path: string; contents: Uint8Array }[] {
  try {
    return buildSync({
      entryPoints: { worker: entry },
      outdir: resolve('/'),
      write: false,
      bundle: true,
      format: 'esm',
      target: 'esnext',
      conditions: ['workerd', 'worker', 'browser'],
      mainFields: ['browser', 'module', 'main'],
      external: ['cloudflare:*', 'node:*', '*.tgz'],
      loader: { '.wasm': 'copy' },
      logLevel: 'silent',
    }).outputFiles;
  } catch (error) {
    throw new StartFailure(
      `The Worker ${entry} cannot be built.\n${error instanceof Error ? error.message : error}`,
    );
  }
}
