// The two homes, with the registry or the floor in them. Each has a temporary folder, which is deleted at the end. One machine is
// workerd as `npm start` runs it. The other is Miniflare's R2 simulator, without the proxies of `wrangler dev`.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startMachine } from '../standalone/machine.ts';
import { startSimulator } from '../test/support/simulator.ts';

export const HOMES = ['machine', 'r2'] as const;
export type HomeName = (typeof HOMES)[number];

/** A value of BLOB_DELIVERY. */
export type Delivery = 'redirect' | 'stream';

/** A server to measure. */
export interface Target {
  readonly name: string;
  /** Without a slash at its end. */
  readonly url: string;
  /** Its setting BLOB_DELIVERY. Undefined if it was not set. */
  readonly delivery?: Delivery | undefined;
  /** The Authorization header of its admin. Undefined without access control. */
  readonly admin?: string | undefined;
  /** Resident memory. Undefined for a server that was not started here, or without /proc. */
  memoryBytes(): number | undefined;
  stop(): Promise<void>;
}

const LONGSHORE = join(import.meta.dirname, 'longshore.ts');
const ENTRIES = {
  longshore: LONGSHORE,
  guarded: LONGSHORE,
  open: LONGSHORE,
  floor: join(import.meta.dirname, 'floor.ts'),
};
const PASSWORD = 'a password of the bench';

/** `guarded` is Longshore with access control. `open` is Longshore without it, to compare the two. */
export async function startTarget(
  home: HomeName,
  kind: keyof typeof ENTRIES,
  delivery?: Delivery,
): Promise<Target> {
  const isGuarded = kind === 'guarded';
  const stateDir = mkdtempSync(join(tmpdir(), `longshore-bench-${kind}-`));
  const vars: Vars = {
    ...(isGuarded ? { AUTH: 'on', ADMIN_PASSWORD: PASSWORD, REQUEST_LIMIT: '0' } : { AUTH: 'off' }),
    ...(delivery === undefined ? {} : { BLOB_DELIVERY: delivery }),
  };
  const target = await (home === 'machine' ? onMachine : onSimulator)(ENTRIES[kind], stateDir, vars);
  return {
    name: isGuarded ? 'longshore' : kind,
    url: target.url,
    delivery,
    admin: isGuarded ? `Basic ${btoa(`admin:${PASSWORD}`)}` : undefined,
    memoryBytes: () => target.memoryBytes(),
    stop: async () => {
      await target.stop();
      rmSync(stateDir, { recursive: true, force: true });
    },
  };
}

/** Another registry, which runs already. */
export function peer(name: string, url: string): Target {
  return { name, url: url.replace(/\/+$/, ''), memoryBytes: () => undefined, stop: async () => {} };
}

type Running = Pick<Target, 'url' | 'memoryBytes' | 'stop'>;
type Vars = Record<string, string>;

function onMachine(entry: string, stateDir: string, vars: Vars): Promise<Running> {
  return startMachine({ entry, stateDir, vars });
}

async function onSimulator(entry: string, stateDir: string, vars: Vars): Promise<Running> {
  const before = childrenOfThis();
  const { url, stop } = await startSimulator(entry, stateDir, vars);
  // Miniflare does not tell the pid of its workerd. Other children of this process are guard shells.
  const pid = childrenOfThis().find((child) => !before.includes(child) && isWorkerd(child));
  return { url, stop, memoryBytes: () => (pid === undefined ? undefined : residentBytes(pid)) };
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
