/**
 * The memory of the proxy: blocks of one size, shared by all uploads. An upload that needs a block when none is left waits, and its
 * client waits with it, because nothing reads from its connection.
 */

const BLOCK_BYTES = 256 * 1024;

/** An upload that has blocks. */
export interface Holder {
  /** Others wait for blocks: send what is there. */
  release(): void;
}

export class BlockPool {
  readonly maxBytes: number;
  #free: Buffer[] = [];
  #used = 0;
  readonly #waiting: ((block: Buffer) => void)[] = [];
  readonly #holders = new Set<Holder>();

  /** `maxBytes` is a multiple of BLOCK_BYTES. */
  constructor(maxBytes: number) {
    this.maxBytes = maxBytes;
  }

  /** Bytes that uploads have at the moment. */
  get usedBytes(): number {
    return this.#used * BLOCK_BYTES;
  }

  /** A block, or null if none is left. */
  tryTake(): Buffer | null {
    if (this.#waiting.length > 0 || this.usedBytes >= this.maxBytes) return null;
    this.#used += 1;
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(BLOCK_BYTES);
  }

  /** A block, as soon as there is one. The caller must hold none, or two callers could wait for each other. */
  take(): Promise<Buffer> {
    const block = this.tryTake();
    if (block !== null) return Promise.resolve(block);
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      for (const holder of this.#holders) holder.release();
    });
  }

  give(blocks: readonly Buffer[]): void {
    for (const block of blocks) {
      if (!this.#pass(block)) this.#free.push(block);
    }
    // The memory is for pushes. Between them the system gets it back.
    if (this.#used === 0) this.#free = [];
  }

  /** Gives blocks back that a failed request may still read from. They are not filled again. */
  drop(blocks: readonly Buffer[]): void {
    for (const { length } of blocks) {
      if (this.#waiting.length === 0) this.#used -= 1;
      else this.#pass(Buffer.allocUnsafeSlow(length));
    }
  }

  /** Tells a holder when others wait, until `forget`. */
  watch(holder: Holder): void {
    this.#holders.add(holder);
  }

  forget(holder: Holder): void {
    this.#holders.delete(holder);
  }

  /** Hands a block to the next one that waits. False if none does. */
  #pass(block: Buffer): boolean {
    const next = this.#waiting.shift();
    if (next === undefined) this.#used -= 1;
    else next(block);
    return next !== undefined;
  }
}

/** Bytes of an upload in blocks. They can be read again. */
export class Chunk {
  readonly blocks: Buffer[] = [];
  /** In bytes. */
  size = 0;

  /** Bytes that the last block still takes. */
  get room(): number {
    return this.blocks.length * BLOCK_BYTES - this.size;
  }

  /** Copies the beginning of `piece` into the last block, at most `maxBytes`, and returns how many bytes. */
  add(piece: Uint8Array, maxBytes: number): number {
    const last = this.blocks.at(-1);
    const count = Math.min(piece.length, this.room, maxBytes);
    last?.set(piece.subarray(0, count), BLOCK_BYTES - this.room);
    this.size += count;
    return count;
  }

  /** The bytes from `start` to before `end`. */
  async *open(start: number, end: number): AsyncGenerator<Uint8Array> {
    for (let at = start; at < end; ) {
      const block = this.blocks[Math.floor(at / BLOCK_BYTES)];
      if (block === undefined) return;
      const from = at % BLOCK_BYTES;
      const piece = block.subarray(from, Math.min(BLOCK_BYTES, from + end - at));
      at += piece.length;
      yield piece;
    }
  }
}
