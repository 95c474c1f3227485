/**
 * Remembers which compressed layer was made of which layer, so that an image that is pushed again need not be compressed again to
 * know its digests. A small file in the folder of the state, which only its owner can read. It is a cache: it may be deleted.
 */
import { randomBytes } from 'node:crypto';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { type Digest, isDigest } from '../../worker/oci/digest.ts';
import { makeFolder } from './make-folder.ts';

export interface Remembered {
  digest: Digest;
  /** In bytes. */
  size: number;
}

/** About 500 KB. The layers that were used last are kept. */
const LAYERS_MAX = 2000;
const FILE_MAX_BYTES = 4 * 1024 * 1024;

export class CompressedLayers {
  readonly #path: string;
  /** The least recently used first. */
  readonly #layers: Map<string, Remembered>;
  readonly #forgotten = new Set<string>();

  private constructor(path: string, layers: Map<string, Remembered>) {
    this.#path = path;
    this.#layers = layers;
  }

  /** Never throws: without the file, everything is compressed. */
  static async load(env: NodeJS.ProcessEnv): Promise<CompressedLayers> {
    const state = env.XDG_STATE_HOME || join(env.HOME || homedir(), '.local', 'state');
    const path = join(state, 'longshore', 'compressed-layers.json');
    return new CompressedLayers(path, await readLayers(path));
  }

  /** `variant` names the compression. */
  get(diffId: Digest, variant: string): Remembered | null {
    const key = `${diffId} ${variant}`;
    const found = this.#layers.get(key);
    if (found === undefined) return null;
    this.#layers.delete(key);
    this.#layers.set(key, found);
    return found;
  }

  /** Writes the file. Never throws: a home that cannot be written costs only time at the next push. */
  async add(diffId: Digest, variant: string, { digest, size }: Remembered): Promise<void> {
    this.#layers.set(`${diffId} ${variant}`, { digest, size });
    await this.#write();
  }

  /** What was remembered is wrong. */
  async forget(diffId: Digest, variant: string): Promise<void> {
    this.#layers.delete(`${diffId} ${variant}`);
    this.#forgotten.add(`${diffId} ${variant}`);
    await this.#write();
  }

  async #write(): Promise<void> {
    const temporary = `${this.#path}.${randomBytes(6).toString('hex')}`;
    try {
      // Another process may have added layers since.
      const others = [...(await readLayers(this.#path))].filter(
        ([key]) => !this.#layers.has(key) && !this.#forgotten.has(key),
      );
      const kept = [...others, ...this.#layers].slice(-LAYERS_MAX);
      await makeFolder(dirname(this.#path), 0o700);
      await writeFile(temporary, JSON.stringify({ version: 1, layers: Object.fromEntries(kept) }), {
        mode: 0o600,
      });
      await rename(temporary, this.#path);
    } catch {
      await rm(temporary, { force: true }).catch(() => {});
    }
  }
}

async function readLayers(path: string): Promise<Map<string, Remembered>> {
  try {
    const text = await readFile(path, 'utf8');
    if (text.length > FILE_MAX_BYTES) return new Map();
    const { version, layers } = JSON.parse(text) as {
      version?: unknown;
      layers?: Record<string, Remembered>;
    };
    if (version !== 1 || layers === undefined) return new Map();
    return new Map(Object.entries(layers).filter(([, value]) => isRemembered(value)));
  } catch {
    return new Map();
  }
}

function isRemembered(value: Remembered): boolean {
  return typeof value?.digest === 'string' && isDigest(value.digest) && Number.isSafeInteger(value.size);
}
