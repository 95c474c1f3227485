// Bundles the entry module of a Worker and its imports into one ES module. WebAssembly stays in files of its own, because
// workerd's configuration lists it as a separate kind of module.
import { basename, resolve } from 'node:path';
import { buildSync } from 'esbuild';
import { StartFailure } from './failure.ts';

export interface Module {
  /** The name by which the other modules import it; the entry is `worker.js`. */
  readonly name: string;
  readonly kind: 'esModule' | 'wasm';
  readonly contents: Uint8Array;
}

/** Bundles of this process: sources do not change while it runs, and a build takes longer than the start of workerd. */
const bundles = new Map<string, readonly Module[]>();

/** The entry first, as workerd wants it. Throws a StartFailure that quotes esbuild if the sources do not build. */
export function bundle(entry: string): readonly Module[] {
  const made = bundles.get(entry);
  if (made !== undefined) return made;
  const modules = build(entry).map(({ path, contents }): Module => {
    const name = basename(path);
    return { name, kind: name.endsWith('.wasm') ? 'wasm' : 'esModule', contents };
  });
  modules.sort((one, other) => Number(one.kind === 'wasm') - Number(other.kind === 'wasm'));
  bundles.set(entry, modules);
  return modules;
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
      external: ['cloudflare:*', 'node:*'],
      loader: { '.wasm': 'copy' },
      logLevel: 'silent',
    }).outputFiles;
  } catch (error) {
    throw new StartFailure(
      `The Worker ${entry} cannot be built.\n${error instanceof Error ? error.message : error}`,
    );
  }
}
