/**
 * The bytes of an upload behind its last part, while a request adds to them: those that its session has, and those that came
 * since, in a buffer that grows as they come. Where memory is short, what came is written down in the session and the buffer
 * given back.
 */

import type { Lease } from '../memory/budget.ts';
import { STEADY_READ_BYTES } from './body.ts';
import type { AppendContext, Draft, StoredTail, Tap } from './store.ts';

const EMPTY = new Uint8Array();

export interface TailOptions {
  /** The size that the tail has at most, in bytes. */
  max: number;
  /** Writes the bytes down, behind those that the session has. */
  keep: (bytes: Uint8Array) => Promise<void>;
  /** Waits for what gives memory back soon. */
  freeMemory: () => Promise<void>;
}

export class Tail {
  readonly #lease: Lease;
  readonly #tap: Tap;
  readonly #load: () => Promise<Uint8Array>;
  readonly #options: TailOptions;
  /** Bytes that the session has, and whether the buffer begins with them. */
  #stored: number;
  #loaded = false;
  #buffer: Uint8Array = EMPTY;
  #filled = 0;

  /** The lease holds what is in the stored tail. */
  constructor(stored: StoredTail, writing: AppendContext, options: TailOptions) {
    this.#lease = writing.lease;
    this.#tap = writing.tap;
    this.#load = writing.loadTail;
    this.#options = options;
    this.#stored = stored.size;
    if (stored.bytes !== null) this.#setLoaded(stored.bytes);
  }

  get size(): number {
    return this.#loaded ? this.#filled : this.#stored + this.#filled;
  }

  /** True where all bytes are in memory. */
  get isInMemory(): boolean {
    return this.#loaded || this.#stored === 0;
  }

  /** The bytes that the session does not have. */
  fresh(): Uint8Array {
    return this.#buffer.subarray(this.#loaded ? this.#stored : 0, this.#filled);
  }

  /** Adds bytes, and shows them to the tap. Throws UNAVAILABLE, and what `keep` throws. */
  async add(bytes: Uint8Array): Promise<void> {
    await this.#reserve(bytes.length);
    this.#buffer.set(bytes, this.#filled);
    this.#filled += bytes.length;
    this.#tap(bytes);
  }

  /** Writes down what the session does not have, and gives all memory back. */
  async spill(): Promise<void> {
    const fresh = this.fresh();
    if (fresh.length > 0) await this.#options.keep(fresh);
    this.#stored += fresh.length;
    this.#drop();
  }

  /** All bytes in one piece. They are the caller's, and so is the memory of `held` bytes; the tail is then empty. */
  async take(): Promise<{ bytes: Uint8Array; held: number }> {
    if (!this.isInMemory) {
      await this.spill(); // It waits with nothing in its hands.
      await this.#lease.take(2 * this.#stored);
      const bytes = await this.#load();
      this.#lease.give(this.#stored);
      this.#setLoaded(bytes);
    }
    const taken = { bytes: this.#buffer.subarray(0, this.#filled), held: this.#buffer.length };
    this.#buffer = EMPTY;
    this.#filled = 0;
    this.#loaded = false;
    this.#stored = 0;
    return taken;
  }

  async #reserve(more: number): Promise<void> {
    if (this.#tryGrow(more)) return;
    await this.#options.freeMemory();
    if (this.#tryGrow(more)) return;
    await this.spill();
    const size = Math.max(more, STEADY_READ_BYTES);
    await this.#lease.take(size);
    this.#buffer = new Uint8Array(size);
  }

  /** Makes room for more bytes, and if possible for as many as will come. */
  #tryGrow(more: number): boolean {
    const has = this.#buffer.length;
    const needed = this.#filled + more;
    if (needed <= has) return true;
    const ample = Math.min(Math.max(needed, 4 * has, STEADY_READ_BYTES), this.#options.max);
    for (const size of [Math.max(ample, needed), needed]) {
      if (!this.#lease.tryTake(size - has)) continue;
      const buffer = new Uint8Array(size);
      buffer.set(this.#buffer.subarray(0, this.#filled));
      this.#buffer = buffer;
      return true;
    }
    return false;
  }

  #setLoaded(bytes: Uint8Array): void {
    this.#buffer = bytes;
    this.#filled = bytes.length;
    this.#loaded = true;
  }

  #drop(): void {
    this.#lease.give(this.#buffer.length);
    this.#buffer = EMPTY;
    this.#filled = 0;
    this.#loaded = false;
  }
}

/** In bytes, with its tail. */
export function sizeOfDraft({ parts, tail }: Draft): number {
  return parts.reduce((sum, { size }) => sum + size, tail.size);
}

/** The bytes of a tail that was loaded. */
export function bytesOf({ size, bytes }: StoredTail): Uint8Array {
  if (bytes !== null) return bytes;
  if (size > 0) throw new Error('the tail of a draft was not loaded');
  return new Uint8Array();
}
