/**
 * The bytes of an upload behind its last part, while a request adds to them: those that its session has, and new ones in a buffer
 * that grows as they arrive. If memory is short, the new bytes are saved in the session and the buffer is released.
 */

import type { Lease } from '../memory/budget.ts';
import { STEADY_READ_BYTES } from './body.ts';
import type { AppendContext, Draft, StoredTail, Tap } from './store.ts';

const EMPTY = new Uint8Array();

export interface TailOptions {
  /** The largest size of the tail, in bytes. */
  max: number;
  /** Saves bytes behind those that the session has. */
  keep: (bytes: Uint8Array) => Promise<void>;
  /** Waits for something that releases memory soon. */
  freeMemory: () => Promise<void>;
}

export class Tail {
  readonly #lease: Lease;
  readonly #tap: Tap;
  readonly #load: () => Promise<Uint8Array>;
  readonly #options: TailOptions;
  /** The number of bytes that the session has, and whether the buffer begins with them. */
  #stored: number;
  #loaded = false;
  #buffer: Uint8Array = EMPTY;
  #filled = 0;

  /** The lease already holds the bytes of the stored tail. */
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

  /** Whether all bytes are in memory. */
  get isInMemory(): boolean {
    return this.#loaded || this.#stored === 0;
  }

  /** The bytes that the session does not have. */
  fresh(): Uint8Array {
    return this.#buffer.subarray(this.#loaded ? this.#stored : 0, this.#filled);
  }

  /**
   * Adds bytes, and passes them to the tap.
   *
   * Throws UNAVAILABLE if memory stays short.
   * Throws what `keep` throws.
   */
  async add(bytes: Uint8Array): Promise<void> {
    await this.#reserve(bytes.length);
    this.#buffer.set(bytes, this.#filled);
    this.#filled += bytes.length;
    this.#tap(bytes);
  }

  /** Saves what the session does not have, and releases all memory. */
  async spill(): Promise<void> {
    const fresh = this.fresh();
    if (fresh.length > 0) await this.#options.keep(fresh);
    this.#stored += fresh.length;
    this.#drop();
  }

  /** Empties the tail and returns its bytes. The caller must give `held` bytes of memory back to the lease. */
  async take(): Promise<{ bytes: Uint8Array; held: number }> {
    if (!this.isInMemory) {
      await this.spill(); // Hold no memory while waiting for more.
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

  /** Makes room for more bytes, with some to spare if memory allows. */
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

/** The size of a draft with its tail, in bytes. */
export function sizeOfDraft({ parts, tail }: Draft): number {
  return parts.reduce((sum, { size }) => sum + size, tail.size);
}

/** The bytes of a loaded tail. */
export function bytesOf({ size, bytes }: StoredTail): Uint8Array {
  if (bytes !== null) return bytes;
  if (size > 0) throw new Error('the tail of a draft was not loaded');
  return new Uint8Array();
}
