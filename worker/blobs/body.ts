/**
 * Reads bodies within the memory budget: small pieces at first and while the client is slow, large pieces while it is fast. A BYOB
 * reader that waits for whole large pieces is about 8 times as fast as taking the 4 KiB that arrive at once.
 */

import type { Lease } from '../memory/budget.ts';
import { IDLE_LOOK_MS } from '../memory/budget.ts';

/**
 * How much of a body is read at once: the first bytes and those of slow clients, those of steady clients, and those of fast
 * clients while there is plenty of memory.
 */
const SLOW_READ_BYTES = 4 * 1024;
export const STEADY_READ_BYTES = 64 * 1024;
export const READ_BYTES = 1024 * 1024;
/** A read that takes less time makes the next one larger; a read that takes more makes it smaller. */
const FAST_READ_MS = 100;
const SLOW_READ_MS = 1000;

/** Releases memory while the client sends nothing and others need memory. */
export type WhileIdle = () => Promise<void>;

const LOOK = Symbol();

/** Reads a body piece by piece. A piece is valid until the next one is read. */
export class BodyReader {
  readonly #reader: ReadableStreamBYOBReader;
  readonly #lease: Lease;
  readonly #whileIdle: WhileIdle;
  #buffer = new ArrayBuffer(0);
  #next = SLOW_READ_BYTES;
  #ended = false;

  /** The buffer counts as memory of the lease. */
  constructor(body: ReadableStream<Uint8Array>, lease: Lease, whileIdle: WhileIdle = async () => {}) {
    this.#lease = lease;
    this.#whileIdle = whileIdle;
    this.#reader = body.getReader({ mode: 'byob' });
  }

  /**
   * The next piece, or null at the end.
   *
   * Throws what the stream throws.
   * Throws UNAVAILABLE if memory stays short.
   */
  async read(): Promise<Uint8Array | null> {
    if (this.#ended) return null;
    await this.#resize();
    const size = this.#buffer.byteLength;
    // The first bytes and those of a slow client are taken as they arrive.
    const least = size > SLOW_READ_BYTES ? size : 1;
    const began = performance.now();
    const { value, done } = await this.#whole(this.#reader.readAtLeast(least, new Uint8Array(this.#buffer)));
    this.#adapt(performance.now() - began);
    if (value === undefined || done || value.length < least) this.#ended = true;
    if (value === undefined || value.length === 0) return null;
    this.#buffer = value.buffer as ArrayBuffer;
    return value;
  }

  /** Waits for a read, and releases memory meanwhile if it is short. */
  async #whole<T>(reading: Promise<T>): Promise<T> {
    reading.catch(() => undefined); // If `whileIdle` throws, this promise is not awaited.
    for (;;) {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const look = new Promise<typeof LOOK>((resolve) => {
        timer = setTimeout(() => resolve(LOOK), IDLE_LOOK_MS);
      });
      try {
        const first = await Promise.race([reading, look]);
        if (first !== LOOK) return first;
      } finally {
        if (timer !== undefined) clearTimeout(timer);
      }
      this.#lease.seen();
      if (this.#lease.budget.isShort) await this.#whileIdle();
    }
  }

  #adapt(tookMs: number): void {
    if (tookMs > SLOW_READ_MS) this.#next = SLOW_READ_BYTES;
    else if (tookMs < FAST_READ_MS)
      this.#next = this.#next === SLOW_READ_BYTES ? STEADY_READ_BYTES : READ_BYTES;
  }

  async #resize(): Promise<void> {
    const has = this.#buffer.byteLength;
    const large = this.#next === READ_BYTES && this.#lease.budget.hasPlenty;
    const size = large ? READ_BYTES : Math.min(this.#next, STEADY_READ_BYTES);
    if (size === has) return;
    if (size < has) this.#lease.give(has - size);
    else if (!large) await this.#lease.takeSmall(size - has);
    else if (!this.#lease.tryTake(size - has)) return;
    this.#buffer = new ArrayBuffer(size);
  }
}

/** The bytes of a body of this size, in a buffer that grows as they arrive. Null if the body has another size. */
export async function readWhole(reader: BodyReader, size: number, lease: Lease): Promise<Uint8Array | null> {
  let bytes = new Uint8Array();
  let filled = 0;
  for (;;) {
    const piece = await reader.read();
    if (piece === null) return filled === size ? bytes : null;
    const needed = filled + piece.length;
    if (needed > size) return null;
    if (needed > bytes.length) {
      const grown = Math.min(size, Math.max(needed, 4 * bytes.length));
      await lease.take(grown - bytes.length);
      const longer = new Uint8Array(grown);
      longer.set(bytes.subarray(0, filled));
      bytes = longer;
    }
    bytes.set(piece, filled);
    filled = needed;
  }
}
