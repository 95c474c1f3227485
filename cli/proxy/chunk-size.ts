// How long a chunk is.
import type { ChunkLimit } from '../transfer/upload.ts';
import type { BlockPool } from './block-pool.ts';

/** Parts of the registry on R2. Chunks of whole parts leave no rest to carry to the next chunk. */
const PART_BYTES = 7 * 1024 * 1024;
const SMALLEST_BYTES = 256 * 1024;
const FIRST_BYTES = 1024 * 1024;
/** Shorter requests show the delay of the network and not its rate. */
const SAMPLE_MIN_BYTES = 512 * 1024;
/**
 * When the body of a client ends, at most two chunks are left to send. containerd waits 30 s for the answer from then on
 * (core/remotes/docker, `ResponseHeaderTimeout`).
 */
const CHUNK_MS = 3_000;

export class ChunkSize {
  /** Uploads whose body is arriving. */
  active = 0;
  readonly #limit: ChunkLimit;
  readonly #pool: BlockPool;
  /** Bytes per ms of one request. */
  #rate: number | null = null;

  constructor(limit: ChunkLimit, pool: BlockPool) {
    this.#limit = limit;
    this.#pool = pool;
  }

  /** Records how long a chunk took. In bytes and ms. */
  learn(bytes: number, ms: number): void {
    if (bytes < SAMPLE_MIN_BYTES) return;
    const rate = bytes / Math.max(1, ms);
    this.#rate = this.#rate === null ? rate : (this.#rate + rate) / 2;
  }

  /** In bytes: two chunks for each upload fit in the memory, and a chunk is sent in seconds. */
  get target(): number {
    const share = this.#pool.maxBytes / (2 * Math.max(1, this.active));
    const soon = this.#rate === null ? FIRST_BYTES : this.#rate * CHUNK_MS;
    const wanted = Math.floor(Math.min(share, soon));
    const whole = wanted < PART_BYTES ? wanted : wanted - (wanted % PART_BYTES);
    return Math.min(this.#limit.maxBytes, Math.max(SMALLEST_BYTES, whole));
  }
}
