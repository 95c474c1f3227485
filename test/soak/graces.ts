/** The Worker with graces so short that blobs are collected and uploads expire while the clients are at it. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build, type Plugin, type PluginBuild, stop } from 'esbuild';

/** How long an upload may take, in graces. */
export const UPLOAD_LIFETIME_GRACES = 4;

/** Builds it into a folder that `remove` deletes. */
export async function shortGraces(
  entry: string,
  seconds: number,
): Promise<{ entry: string; remove(): void }> {
  const ms = seconds * 1000;
  const graces = {
    GRACE_MS: ms,
    LINK_CONFIRM_MS: 4 * ms,
    VOID_LINK_MS: 8 * ms,
    UPLOAD_ABORT_DELAY_MS: ms / 4,
    ENDED_UPLOAD_KEPT_MS: UPLOAD_LIFETIME_GRACES * ms,
  };
  const limits = { UPLOAD_LIFETIME_MS: UPLOAD_LIFETIME_GRACES * ms };
  const shorter: Plugin = {
    name: 'shorter graces',
    setup: (plugins) => {
      replaceIn(plugins, /durable-objects[\\/]graces\.ts$/, graces);
      replaceIn(plugins, /worker[\\/]oci[\\/]limits\.ts$/, limits);
    },
  };
  const folder = mkdtempSync(join(tmpdir(), 'longshore-soak-'));
  const outfile = join(folder, 'worker.js');
  await build({
    entryPoints: [entry],
    outfile,
    bundle: true,
    format: 'esm',
    target: 'esnext',
    conditions: ['workerd', 'worker', 'browser'],
    mainFields: ['browser', 'module', 'main'],
    external: ['cloudflare:*', 'node:*'],
    logLevel: 'error',
    plugins: [shorter],
  });
  await stop();
  return { entry: outfile, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

function replaceIn(plugins: PluginBuild, filter: RegExp, values: Record<string, number>): void {
  plugins.onLoad({ filter }, ({ path }) => ({ loader: 'ts', contents: replaced(path, values) }));
}

/** A module with other values for some of its constants. */
function replaced(path: string, values: Record<string, number>): string {
  let text = readFileSync(path, 'utf8');
  for (const [name, value] of Object.entries(values)) {
    const before = text;
    text = text.replace(new RegExp(`^export const ${name} = .*;$`, 'm'), `export const ${name} = ${value};`);
    if (text === before) throw new Error(`${path} has no limit ${name}: see test/soak/graces.ts`);
  }
  return text;
}
