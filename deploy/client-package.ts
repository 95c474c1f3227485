// Packs the command `longshore` as a package of npm: one JavaScript file without dependencies. The registry serves it at /cli.tgz.
// The same sources make the same bytes. `wrangler` runs this file before it bundles the Worker.
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { buildSync } from 'esbuild';

const ROOT = join(import.meta.dirname, '..');
const ENTRY = join(ROOT, 'cli/longshore.ts');
/** Where the Worker imports it. */
const PATH = join(ROOT, 'worker/delivery/cli.tgz');
const PROGRAM = 'longshore.cjs';
/** The oldest version of Node that runs the package. */
const NODE_MIN = 20;

const BLOCK_BYTES = 512;

/** Runs before the rest of the file. It must be readable for an old Node. */
const CHECK = `if (Number(process.versions.node.split('.')[0]) < ${NODE_MIN}) {
  console.error('longshore needs Node ${NODE_MIN} or newer, and this is Node ' + process.versions.node + '.');
  process.exit(1);
}`;

let packed: Uint8Array | undefined;

/** The package, as `npm pack` would make it. It is made once for each process. */
export function clientPackage(): Uint8Array {
  packed ??= pack();
  return packed;
}

function pack(): Uint8Array {
  const { version, license }: { version: string; license: string } = JSON.parse(
    readFileSync(join(ROOT, 'package.json'), 'utf8'),
  );
  const description = {
    name: 'longshore',
    version,
    description: 'Pushes images of any size to a Longshore registry, and manages it.',
    license,
    bin: { longshore: PROGRAM },
    engines: { node: `>=${NODE_MIN}` },
  };
  const tar = Buffer.concat([
    ...entry('package/package.json', Buffer.from(`${JSON.stringify(description, null, 2)}\n`), 0o644),
    ...entry(`package/${PROGRAM}`, program(), 0o755),
    Buffer.alloc(2 * BLOCK_BYTES),
  ]);
  return gzipSync(tar, { level: 9 });
}

/** CommonJS, because an ES module does not start on a Node that lacks one of the names that it imports. */
function program(): Uint8Array {
  const [file] = buildSync({
    entryPoints: [ENTRY],
    write: false,
    bundle: true,
    minify: true,
    platform: 'node',
    format: 'cjs',
    target: `node${NODE_MIN}`,
    banner: { js: CHECK },
    logLevel: 'error',
  }).outputFiles;
  if (file === undefined) throw new Error('esbuild made no file of the command');
  return file.contents;
}

/** A file in a tar archive (POSIX ustar). All times are zero, so that they change no byte. */
function entry(name: string, contents: Uint8Array, mode: number): Uint8Array[] {
  const header = Buffer.alloc(BLOCK_BYTES);
  const octal = (value: number, at: number, length: number) =>
    header.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'latin1');
  header.write(name, 0, 'latin1');
  octal(mode, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(contents.length, 124, 12);
  octal(0, 136, 12);
  header.write('        0', 148, 'latin1');
  header.write('ustar\0' + '00', 257, 'latin1');
  let sum = 0;
  for (const byte of header) sum += byte;
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  const padding = Buffer.alloc((BLOCK_BYTES - (contents.length % BLOCK_BYTES)) % BLOCK_BYTES);
  return [header, contents, padding];
}

if (import.meta.main) {
  // Renamed into place: several bundlers may run at once.
  const written = `${PATH}.${process.pid}`;
  writeFileSync(written, clientPackage());
  renameSync(written, PATH);
}
