// The two homes, each with the registry or the floor in it, on folders of their own that go with them. On
// one machine that is workerd as `npm start` runs it; the other is Miniflare's R2 simulator, without the
// proxies that `wrangler dev` puts before it.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { Miniflare } from 'miniflare';
import { bundle } from '../server/bundle.ts';
import { startMachine } from '../server/machine.ts';

export const HOMES = ['machine', 'r2'] as const;
export type HomeName = (typeof HOMES)[number];

/** Something that answers, to be measured. */
export interface Target {
  readonly name: string;
  /** Without a slash at its end. */
  readonly url: string;
  /** Resident memory; undefined for what was not started here, or where there is no /proc. */
  memoryBytes(): number | undefined;
  stop(): Promise<void>;
}

const ENTRIES = {
  longshore: join(import.meta.dirname, 'longshore.ts'),
  floor: join(import.meta.dirname, 'floor.ts'),
};

export async function startTarget(home: HomeName, name: keyof typeof ENTRIES): Promise<Target> {
  const stateDir = mkdtempSync(join(tmpdir(), `longshore-bench-${name}-`));
  const target = await (home === 'machine' ? onMachine : onMiniflare)(ENTRIES[name], stateDir);
  return {
    name,
    url: target.url,
    memoryBytes: () => target.memoryBytes(),
    stop: async () => {
      await target.stop();
      rmSync(stateDir, { recursive: true, force: true });
    },
  };
}

/** Another registry, that runs already. */
export function peer(name: string, url: string): Target {
  return { name, url: url.replace(/\/+$/, ''), memoryBytes: () => undefined, stop: async () => {} };
}

type Running = Pick<Target, 'url' | 'memoryBytes' | 'stop'>;

function onMachine(entry: string, stateDir: string): Promise<Running> {
  return startMachine({ entry, stateDir });
}

async function onMiniflare(entry: string, stateDir: string): Promise<Running> {
  const object = (className: string) => ({ className, useSQLite: true });
  const before = childrenOfThis();
  const miniflare = new Miniflare({
    modules: bundle(entry).map(({ name, contents }) => ({
      type: 'ESModule' as const,
      path: name,
      contents: new TextDecoder().decode(contents),
    })),
    compatibilityDate: '2026-07-01',
    compatibilityFlags: ['nodejs_compat'],
    durableObjects: {
      REPOSITORY: object('Repository'),
      UPLOAD_SESSION: object('UploadSession'),
      BLOB_SHARD: object('BlobShard'),
      CATALOG: object('Catalog'),
      ACCOUNTS: object('Accounts'),
    },
    r2Buckets: ['BLOBS'],
    unsafeDirectSockets: [{ host: '127.0.0.1', port: 0 }],
    durableObjectsPersist: join(stateDir, 'objects'),
    r2Persist: join(stateDir, 'r2'),
    handleRuntimeStdio: (stdout: Readable, stderr: Readable) => {
      stdout.resume();
      // The simulator's own notes to its authors would come between the rows of the table.
      createInterface(stderr).on('line', (line) => line.includes('NOSENTRY') || console.error(line));
    },
  });
  await miniflare.ready;
  const { origin } = await miniflare.unsafeGetDirectURL();
  // Miniflare does not say which process it started; the shells that guard other processes are no workerd.
  const pid = childrenOfThis().find((child) => !before.includes(child) && isWorkerd(child));
  return {
    url: origin,
    memoryBytes: () => (pid === undefined ? undefined : residentBytes(pid)),
    stop: () => miniflare.dispose(),
  };
}

function childrenOfThis(): string[] {
  return (read('/proc/self/task/self/children') ?? read(`/proc/self/task/${process.pid}/children`) ?? '')
    .split(' ')
    .filter((pid) => pid !== '');
}

function isWorkerd(pid: string): boolean {
  return read(`/proc/${pid}/comm`)?.trim() === 'workerd';
}

function residentBytes(pid: string): number | undefined {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(read(`/proc/${pid}/status`) ?? '')?.[1];
  return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
