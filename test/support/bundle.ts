/**
 * What `npm run deploy` would upload, held to limits: the size of the bundle, and the processor time that its modules take
 * before they can answer. `npm run check` runs it; it needs neither an account nor a network.
 *
 * Start-up is measured as processor time in a process of its own, the least of several runs: other work on the machine delays
 * a process, but does not make it compute more.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';

const KiB = 1024;
/** Cloudflare takes 3 MB of gzip on its free plan; this is ours, for the code that runs. */
const GZIP_MAX_BYTES = 320 * KiB;
/** The packed command is data. It is uploaded with the code, and costs no time at the start (docs/decisions/0028). */
const CLIENT_MAX_BYTES = 150 * KiB;
/** Cloudflare allows a second ("Workers: Limits"); this is ours. */
const START_MAX_MS = 200;
const START_RUNS = 5;
const WRANGLER_TIMEOUT_MS = 120_000;

const ROOT = join(import.meta.dirname, '../..');

/** Stands in for the module of the runtime, and prints what it took to load the bundle, in ms of processor time. */
const LOADER = `
import { registerHooks } from 'node:module';
registerHooks({
  load: (url, context, next) => url.endsWith('.tgz')
    ? { format: 'module', source: 'export default new ArrayBuffer(0)', shortCircuit: true }
    : next(url, context),
  resolve: (specifier, context, next) => specifier === 'cloudflare:workers'
    ? { url: 'data:text/javascript,export class DurableObject {} export class WorkerEntrypoint {} export const exports = {}, cache = undefined, waitUntil = () => {}', shortCircuit: true }
    : next(specifier, context),
});
const before = process.cpuUsage();
const worker = await import(process.env.WORKER);
const { user, system } = process.cpuUsage(before);
if (typeof worker.default?.fetch !== 'function') throw new Error('the bundle has no fetch handler');
console.log((user + system) / 1000);
`;

const folder = mkdtempSync(join(tmpdir(), 'longshore-bundle-'));
try {
  build();
  const files = readdirSync(folder).filter((name) => /\.(?:js|mjs|wasm)$/.test(name));
  const entry = files.find((name) => name === 'index.js');
  if (entry === undefined) throw new Error(`wrangler wrote no index.js: ${readdirSync(folder).join(', ')}`);
  const contents = files.map((name) => readFileSync(join(folder, name)));
  const rawBytes = contents.reduce((sum, bytes) => sum + bytes.length, 0);
  const gzipBytes = contents.reduce((sum, bytes) => sum + gzipSync(bytes).length, 0);
  const client = readdirSync(folder).filter((name) => name.endsWith('.tgz'));
  if (client.length !== 1) throw new Error(`wrangler wrote ${client.length} packages of the client`);
  const clientBytes = statSync(join(folder, client[0] ?? '')).size;
  const startMs = Math.min(...Array.from({ length: START_RUNS }, () => start(join(folder, entry))));

  console.log(`code      ${kib(rawBytes)}, ${kib(gzipBytes)} in gzip (limit ${kib(GZIP_MAX_BYTES)})`);
  console.log(`client    ${kib(clientBytes)}, which the registry serves (limit ${kib(CLIENT_MAX_BYTES)})`);
  console.log(`start-up  ${startMs.toFixed(1)} ms of processor time (limit ${START_MAX_MS} ms)`);
  if (gzipBytes > GZIP_MAX_BYTES) fail('The bundle is too large: what has been imported?');
  if (clientBytes > CLIENT_MAX_BYTES) fail('The packed command is too large: what has been imported?');
  if (startMs > START_MAX_MS)
    fail('The bundle takes too long to start: what does it compute when it is loaded?');
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function build(): void {
  // The command's own file: a shell's search path may find another, or none.
  const packageFile = createRequire(import.meta.url).resolve('wrangler/package.json');
  const wrangler = join(dirname(packageFile), 'bin/wrangler.js');
  const env = { ...process.env, WRANGLER_SEND_METRICS: 'false', WRANGLER_LOG_PATH: folder, CI: 'true' };
  try {
    execFileSync(process.execPath, [wrangler, 'deploy', '--dry-run', '--outdir', folder], {
      cwd: ROOT,
      env,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: WRANGLER_TIMEOUT_MS,
    });
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    console.error(`${stdout}${stderr}`);
    throw new Error('`wrangler deploy --dry-run` failed', { cause: error });
  }
}

/** Loads the bundle in a fresh process. In ms of processor time. */
function start(path: string): number {
  const output = execFileSync(process.execPath, ['--input-type=module', '--eval', LOADER], {
    env: { ...process.env, WORKER: pathToFileURL(path).href },
    encoding: 'utf8',
  });
  return Number(output);
}

function kib(bytes: number): string {
  return `${(bytes / KiB).toFixed(1)} KiB`;
}

function fail(why: string): void {
  console.error(why);
  process.exitCode = 1;
}
