/**
 * `longshore push` and `longshore proxy` stay below 200 MB with six large layers at once, as the registry serves them, under each Node
 * that is installed. LAYER_MIB=1024 is the whole promise. Smaller layers show the same, because all six are under way together, and
 * memory that is not used again reaches the limit within the first of them.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  closeSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { digest as digestOf } from '../support/fixtures.ts';
import { onHome } from '../support/homes.ts';
import { answerTo, open } from '../support/http.ts';
import { NODES, servedProgram } from '../support/served-program.ts';

const MB = 1_000_000;
const MAX_BYTES = 200 * MB;
const LAYERS = 6;
const LAYER_BYTES = Number(process.env.LAYER_MIB ?? 160) * 1024 * 1024;
const PIECE = Buffer.alloc(1024 * 1024);
const OCI = 'application/vnd.oci.image';

/** Writes the highest resident memory of the process to a file when it ends. Node: `maxRSS` is in kilobytes. */
const HOOK = `process.on('exit', () =>
  require('node:fs').writeFileSync(process.env.PEAK_FILE, String(process.resourceUsage().maxRSS * 1024)));`;

onHome('disk', (home) => {
  describe('the command stays below 200 MB with six large layers at once', () => {
    let folder = '';
    before(async () => {
      folder = await mkdtemp(join(tmpdir(), 'longshore-memory-'));
      writeFileSync(join(folder, 'longshore.cjs'), servedProgram());
      writeFileSync(join(folder, 'peak.cjs'), HOOK);
    });
    after(() => rm(folder, { recursive: true, force: true }));

    /** Starts the command. The result is its highest resident memory, in bytes. */
    const started = (node: string, args: string[]) => {
      const peakFile = join(folder, 'peak');
      const child = spawn(
        node,
        ['--require', join(folder, 'peak.cjs'), join(folder, 'longshore.cjs'), ...args],
        {
          env: {
            HOME: folder,
            TMPDIR: folder,
            PEAK_FILE: peakFile,
            LONGSHORE_USER: '',
            LONGSHORE_PASSWORD: '',
          },
          stdio: ['ignore', 'ignore', 'inherit'],
        },
      );
      const peak = once(child, 'exit').then(([code]) => {
        assert.equal(code, 0);
        return Number(readFileSync(peakFile, 'utf8'));
      });
      return { child, peak };
    };

    for (const { path: node, version } of NODES) {
      it(`the command stays below 200 MB with six large layers at once: push, Node ${version}`, async (t) => {
        const target = `${new URL(home.url).host}/memory/push-${version}:1`;
        const layout = `oci:${join(folder, 'layout')}`;
        writeLayout(join(folder, 'layout'), layersOf(`push ${version}`));
        const { peak } = started(node, ['push', '--quiet', '--jobs', String(LAYERS), '--to', target, layout]);
        const bytes = await peak;
        t.diagnostic(`${Math.round(bytes / MB)} MB`);
        assert(bytes < MAX_BYTES, `${bytes} bytes`);
      });

      it(`the command stays below 200 MB with six large layers at once: proxy, Node ${version}`, async (t) => {
        const ready = join(folder, 'ready');
        const args = ['--to', home.url, '--port', '0', '--quiet', '--ready-file', ready];
        const { child, peak } = started(node, ['proxy', ...args]);
        const url = await writtenTo(ready, peak);
        const layers = layersOf(`proxy ${version}`);
        await Promise.all(layers.map((layer) => upload(url, `memory/proxy-${version}`, layer)));
        child.kill('SIGTERM');
        const bytes = await peak;
        t.diagnostic(`${Math.round(bytes / MB)} MB`);
        assert(bytes < MAX_BYTES, `${bytes} bytes`);
      });
    }
  });
});

interface Layer {
  /** Its beginning. The rest are zeros. */
  first: Buffer;
  digest: string;
}

/** Layers that no other test has: the registry would link those. */
function layersOf(name: string): Layer[] {
  return Array.from({ length: LAYERS }, (_, at) => {
    const first = Buffer.from(`${name} ${at}`);
    const hash = createHash('sha256');
    for (const piece of piecesOf(first)) hash.update(piece);
    return { first, digest: `sha256:${hash.digest('hex')}` };
  });
}

/** An OCI layout. Its layers are files without blocks. */
function writeLayout(path: string, contents: readonly Layer[]): void {
  const blobs = join(path, 'blobs/sha256');
  mkdirSync(blobs, { recursive: true });
  const layers = contents.map(({ first, digest }) => {
    const file = openSync(join(blobs, digest.slice('sha256:'.length)), 'w');
    writeSync(file, first);
    ftruncateSync(file, LAYER_BYTES);
    closeSync(file);
    return { mediaType: `${OCI}.layer.v1.tar+gzip`, digest, size: LAYER_BYTES };
  });
  const add = (mediaType: string, value: unknown) => {
    const bytes = Buffer.from(JSON.stringify(value));
    const digest = digestOf(bytes);
    writeFileSync(join(blobs, digest.slice('sha256:'.length)), bytes);
    return { mediaType, digest, size: bytes.length };
  };
  const rootfs = { type: 'layers', diff_ids: layers.map(({ digest }) => digest) };
  const config = add(`${OCI}.config.v1+json`, { os: 'linux', architecture: 'amd64', rootfs });
  const mediaType = `${OCI}.manifest.v1+json`;
  const manifest = add(mediaType, { schemaVersion: 2, mediaType, config, layers });
  writeFileSync(join(path, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [manifest] }));
  writeFileSync(join(path, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
}

/** The bytes of a layer. */
function* piecesOf(first: Buffer): Generator<Buffer> {
  yield first;
  yield PIECE.subarray(first.length);
  for (let at = PIECE.length; at < LAYER_BYTES; at += PIECE.length) yield PIECE;
}

/** As docker does: POST, one PATCH of unknown length, PUT. */
async function upload(url: string, repository: string, { first, digest }: Layer): Promise<void> {
  const begun = await fetch(`${url}/v2/${repository}/blobs/uploads/`, { method: 'POST' });
  const sent = open(url, 'PATCH', begun.headers.get('Location') ?? '');
  const answered = answerTo(sent);
  answered.catch(() => {}); // It is awaited below.
  for (const piece of piecesOf(first))
    if (!sent.write(piece)) await Promise.race([once(sent, 'drain'), answered]);
  sent.end();
  const answer = await answered;
  assert.equal(answer.status, 202);
  const end = `${url}${answer.headers.location}?digest=${digest}`;
  assert.equal((await fetch(end, { method: 'PUT' })).status, 201);
}

/** Waits for the file of a process that runs. */
async function writtenTo(path: string, ended: Promise<unknown>): Promise<string> {
  let hasEnded = false;
  const over = () => {
    hasEnded = true;
  };
  ended.then(over, over);
  while (!hasEnded) {
    try {
      const url = readFileSync(path, 'utf8').trim();
      await rm(path);
      return url;
    } catch {
      await new Promise(setImmediate);
    }
  }
  throw new Error('the proxy has ended');
}
