/**
 * `npm run test:fast`: runs the test files that cannot start a server. A file can start one if it, or a module that it imports,
 * imports one of SERVER_MODULES. So a new test file is included or left out automatically.
 */
import { spawnSync } from 'node:child_process';
import { globSync } from 'node:fs';
import { join } from 'node:path';
import { buildSync } from 'esbuild';

const ROOT = join(import.meta.dirname, '..');
/** What starts servers and other processes. */
const SERVER_MODULES = [
  'miniflare',
  'workerd',
  'node:child_process',
  'node:http',
  'node:https',
  'node:net',
  'node:tls',
];

const { outputs } = buildSync({
  absWorkingDir: ROOT,
  entryPoints: globSync('test/**/*.test.ts', { cwd: ROOT }),
  outdir: 'unused',
  write: false,
  metafile: true,
  bundle: true,
  format: 'esm',
  platform: 'node',
  packages: 'external',
  external: ['cloudflare:*'],
  loader: { '.wasm': 'empty' },
}).metafile;

const files = Object.values(outputs).flatMap(({ entryPoint, imports }) => {
  const startsServers = imports.some(({ path }) => SERVER_MODULES.includes(path));
  return entryPoint === undefined || startsServers ? [] : [entryPoint];
});
console.log(`${files.length} test files of ${Object.keys(outputs).length} start no server.`);
const { status } = spawnSync(process.execPath, ['--test', ...files.sort()], { cwd: ROOT, stdio: 'inherit' });
process.exitCode = status ?? 1;
