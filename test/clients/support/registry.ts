// The registry that the clients of a suite talk to: the one of `npm start`, fresh and on a port of its own,
// or whatever LONGSHORE_URL names. With it comes the folder in which the suite keeps its files.
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before } from 'node:test';

export interface Registry {
  url: string;
  stop(): Promise<void>;
}

type Start = (folder: string) => Promise<Registry>;

/** What a suite's tests use; it is there from the suite's `before` hook to its `after` hook. */
export class Scene {
  #folder = '';
  #registry: Registry | undefined;
  #stops: (() => Promise<void>)[] = [];

  async open(name: string, start: Start | null): Promise<void> {
    const folder = await mkdtemp(join(tmpdir(), `ls-${name}-`));
    this.#folder = folder;
    this.onClose(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
    if (start === null) return;
    const registry = await start(folder);
    this.#registry = registry;
    this.onClose(() => registry.stop());
  }

  async close(): Promise<void> {
    for (const stop of this.#stops.reverse()) await stop();
  }

  /** Adds what the end of the suite has to do; the last that was added is done first. */
  onClose(stop: () => Promise<void>): void {
    this.#stops.push(stop);
  }

  get url(): string {
    if (this.#registry === undefined) throw new Error('the registry is not running');
    return this.#registry.url;
  }

  /** The registry as it stands in front of a reference: host and port. */
  get host(): string {
    return new URL(this.url).host;
  }

  /** The home of the suite's clients. */
  get home(): string {
    return this.#folder;
  }

  path(...names: readonly string[]): string {
    return join(this.#folder, ...names);
  }

  /** A folder that is new and empty. */
  async fresh(name: string): Promise<string> {
    const path = this.path(`${name}-${randomBytes(4).toString('hex')}`);
    await mkdir(path);
    return path;
  }

  /** A repository that no other test, and no earlier run against the same registry, has used. */
  repository(name: string): string {
    return `${this.host}/clients/${name}-${randomBytes(4).toString('hex')}`;
  }
}

/** Gives the surrounding suite a registry and a folder; without a `start`, the folder alone. */
export function scene(name: string, start: Start | null = startRegistry): Scene {
  const made = new Scene();
  before(() => made.open(name, start));
  after(() => made.close());
  return made;
}

async function startRegistry(folder: string): Promise<Registry> {
  const given = process.env.LONGSHORE_URL;
  if (given) return { url: given, stop: async () => undefined };
  // Loaded only here: a run against another registry needs no server of ours.
  const { startMachine } = await import('../../../standalone/machine.ts');
  const { BUNDLED_REGISTRY } = await import('../../support/setup.ts');
  const entry = process.env[BUNDLED_REGISTRY];
  const stateDir = join(folder, 'registry');
  return await startMachine({ port: 0, stateDir, vars: { AUTH: 'off' }, ...(entry && { entry }) });
}

/** Options that keep the storage of podman and buildah in the suite's folder. podman takes no `--runroot` over 50 characters. */
export function podmanStorage(here: Scene): string[] {
  return ['--root', here.path('storage'), '--runroot', here.path('run'), '--storage-driver', 'vfs'];
}
