/**
 * The memory budget of an isolate. Buffers of uploads and all caches count together, and caches shrink when uploads need memory. A
 * request without memory polls. It never awaits a promise of another request, because the runtime ends such requests, and memory that
 * is handed to an ended request is lost.
 *
 * Why uploads make progress: a waiting request saves its bytes in its session first and keeps only one small read buffer. All other
 * memory belongs to requests that are running, or that notice within IDLE_LOOK_MS that memory is short. The request that has waited
 * longest is served first.
 */
import { OciError, TooManyBodies } from '../oci/errors.ts';

/** What all buffers and caches of an isolate may use together. An isolate has 128 MB. */
export const MEMORY_BYTES = 96 * 1024 * 1024;
/** How long a request waits for memory before it is answered 503, and how often it checks. */
const MEMORY_WAIT_MS = 30_000;
const MEMORY_LOOK_MS = 20;
/** Memory of a request that gave no sign of life for this long is free again, because the runtime may end a request silently. */
export const MEMORY_LOST_MS = 5 * 60_000;
/** How long a body that is read whole may stop while memory is short. */
export const WHOLE_BODY_IDLE_MS = 2000;
/** How often a request that waits for its client checks whether others need its memory. */
export const IDLE_LOOK_MS = 250;

/** Bodies that one sender, and all, may send at once. The runtime holds up to 1 MiB for each that is slow, beside this budget. */
export const BODIES_OF_ONE_MAX = 500;
export const BODIES_MAX = 1500;

/** Something that can release memory at any time. */
interface Cache {
  readonly bytes: number;
  /** Drops entries of at least this many bytes, or all. */
  shrink(bytes: number): void;
}

export class MemoryBudget {
  readonly #limit: number;
  /** Bytes that requests hold. */
  #leased = 0;
  #peak = 0;
  readonly #leases = new Set<Lease>();
  /** In the order in which they shrink. */
  readonly #caches: Cache[] = [];
  /** The waiting requests, in order, and when each polled last. */
  readonly #waiting = new Map<Lease, number>();
  /** The requests whose bodies are arriving, and who sends them. */
  readonly #receiving = new Map<Lease, string>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Bytes that requests hold. */
  get leased(): number {
    return this.#leased;
  }

  /** Bytes of caches. */
  get cached(): number {
    let bytes = 0;
    for (const cache of this.#caches) bytes += cache.bytes;
    return bytes;
  }

  /** The most bytes that were in use since the last call. */
  takePeak(): number {
    const peak = this.#peak;
    this.#peak = this.#leased + this.cached;
    return peak;
  }

  /** Whether requests that wait for their clients should release their memory. */
  get isShort(): boolean {
    return this.#firstWaiting() !== null || this.#leased > this.#limit / 2;
  }

  /** Whether a request may take more than it needs. */
  get hasPlenty(): boolean {
    return this.#leased < this.#limit / 4;
  }

  /** The memory of one request; none at first. Call `end` when the request is done. */
  lease(): Lease {
    return new Lease(this);
  }

  /** Adds a cache. It shrinks when memory is needed; with `last`, after the others. */
  count(cache: Cache, last = false): void {
    if (last) this.#caches.push(cache);
    else this.#caches.unshift(cache);
  }

  /** Shrinks caches until everything fits. Call this when a cache has grown. */
  fit(): void {
    this.#shrinkCaches();
    this.#notePeak();
  }

  /** For `Lease`. Waiting requests come first. `small` passes them, because it lets a request finish. */
  take(lease: Lease, bytes: number, small: boolean): boolean {
    const first = small ? null : this.#firstWaiting();
    if (first !== null && first !== lease) return false;
    if (this.#leased + bytes > this.#limit) this.#reclaim();
    if (this.#leased + bytes > this.#limit) return false;
    this.#leased += bytes;
    this.#leases.add(lease);
    this.#shrinkCaches();
    this.#notePeak();
    return true;
  }

  /** For `Lease`. */
  give(lease: Lease, bytes: number): void {
    this.#leased -= bytes;
    if (lease.bytes === 0) this.#leases.delete(lease);
  }

  /** For `Lease`: records that a body arrives. False if there are too many. */
  receive(lease: Lease, sender: string): boolean {
    if (!this.#canReceive(sender)) this.#forgetLostBodies();
    if (!this.#canReceive(sender)) return false;
    this.#receiving.set(lease, sender);
    return true;
  }

  /** For `Lease`. */
  stopReceiving(lease: Lease): void {
    this.#receiving.delete(lease);
  }

  /**
   * Counts a body that is read whole, for as long as `read` runs, and its bytes as they arrive: `read` calls `arrived` before it keeps
   * more. A body that stops while memory is short is given up, so that it does not keep the memory from others. An empty `sender`
   * is not known, and has no limit of its own.
   *
   * Throws TooManyBodies.
   * Throws UNAVAILABLE.
   */
  async whileReceiving<T>(
    sender: string,
    read: (arrived: (bytes: number) => Promise<void>) => Promise<T>,
  ): Promise<T> {
    const lease = this.lease();
    lease.receive(sender);
    let arrivedAt = performance.now();
    // A client may go on sending after its body was given up. Its bytes must not be counted for ever.
    let isOver = false;
    // The runtime stops timers of a request that it ends.
    let look: ReturnType<typeof setInterval> | null = null;
    const stopped = new Promise<never>((_, reject) => {
      look = setInterval(() => {
        lease.seen();
        if (this.isShort && performance.now() - arrivedAt > WHOLE_BODY_IDLE_MS) reject(outOfMemory());
      }, WHOLE_BODY_IDLE_MS);
    });
    const arrived = async (bytes: number) => {
      await lease.take(bytes);
      arrivedAt = performance.now();
      if (!isOver) return;
      lease.end();
      throw outOfMemory();
    };
    try {
      return await Promise.race([read(arrived), stopped]);
    } finally {
      isOver = true;
      clearInterval(look);
      lease.end();
    }
  }

  #canReceive(sender: string): boolean {
    if (this.#receiving.size >= BODIES_MAX) return false;
    if (sender === '' || this.#receiving.size < BODIES_OF_ONE_MAX) return true;
    let own = 0;
    for (const other of this.#receiving.values()) if (other === sender) own++;
    return own < BODIES_OF_ONE_MAX;
  }

  #forgetLostBodies(): void {
    const now = performance.now();
    for (const lease of this.#receiving.keys()) {
      if (now - lease.seenAt > MEMORY_LOST_MS) this.#receiving.delete(lease);
    }
  }

  /** For `Lease`: records that it waits. */
  wait(lease: Lease): void {
    this.#waiting.set(lease, performance.now());
  }

  /** For `Lease`. */
  stopWaiting(lease: Lease): void {
    this.#waiting.delete(lease);
  }

  /** The lease that has waited longest. A request that has not polled lately has ended. */
  #firstWaiting(): Lease | null {
    const now = performance.now();
    for (const [lease, looked] of this.#waiting) {
      if (now - looked < 50 * MEMORY_LOOK_MS) return lease;
      this.#waiting.delete(lease);
    }
    return null;
  }

  /** Releases the memory of requests that the runtime has ended silently. */
  #reclaim(): void {
    const now = performance.now();
    for (const lease of this.#leases) {
      if (now - lease.seenAt > MEMORY_LOST_MS) lease.end();
    }
  }

  #shrinkCaches(): void {
    let excess = this.#leased + this.cached - this.#limit;
    for (const cache of this.#caches) {
      if (excess <= 0) return;
      const before = cache.bytes;
      cache.shrink(excess);
      excess -= before - cache.bytes;
    }
  }

  #notePeak(): void {
    this.#peak = Math.max(this.#peak, this.#leased + this.cached);
  }
}

/** The memory that one request holds. */
export class Lease {
  readonly #budget: MemoryBudget;
  bytes = 0;
  /** When the request last showed that it is running, on the clock of `performance.now()`. */
  seenAt = performance.now();

  constructor(budget: MemoryBudget) {
    this.#budget = budget;
  }

  get budget(): MemoryBudget {
    return this.#budget;
  }

  /** Takes memory if there is enough and no other request waits. Returns whether it did. */
  tryTake(bytes: number): boolean {
    return this.#take(bytes, false);
  }

  /**
   * Takes memory as soon as there is enough.
   *
   * Throws UNAVAILABLE after MEMORY_WAIT_MS.
   */
  async take(bytes: number): Promise<void> {
    if (this.#take(bytes, false)) return;
    const until = performance.now() + MEMORY_WAIT_MS;
    try {
      do {
        this.#budget.wait(this);
        await scheduler.wait(MEMORY_LOOK_MS);
        if (this.#take(bytes, false)) return;
      } while (performance.now() < until);
    } finally {
      this.#budget.stopWaiting(this);
    }
    throw outOfMemory();
  }

  /**
   * Like `take`, for the small read buffer that every request needs. It passes requests that wait for more.
   *
   * Throws UNAVAILABLE after MEMORY_WAIT_MS.
   */
  async takeSmall(bytes: number): Promise<void> {
    const until = performance.now() + MEMORY_WAIT_MS;
    while (!this.#take(bytes, true)) {
      if (performance.now() >= until) throw outOfMemory();
      await scheduler.wait(MEMORY_LOOK_MS);
    }
  }

  give(bytes: number): void {
    const some = Math.min(bytes, this.bytes);
    this.bytes -= some;
    this.#budget.give(this, some);
  }

  /**
   * Counts a body that is about to arrive, until `end`. An empty `sender` is not known, and has no limit of its own.
   *
   * Throws TooManyBodies.
   */
  receive(sender: string): void {
    this.seen();
    if (!this.#budget.receive(this, sender)) throw new TooManyBodies();
  }

  end(): void {
    this.give(this.bytes);
    this.#budget.stopReceiving(this);
  }

  /** Records that the request is still running. */
  seen(): void {
    this.seenAt = performance.now();
  }

  #take(bytes: number, small: boolean): boolean {
    this.seen();
    if (!this.#budget.take(this, bytes, small)) return false;
    this.bytes += bytes;
    return true;
  }
}

/** The budget of this isolate. */
export const memory = new MemoryBudget(MEMORY_BYTES);

function outOfMemory(): OciError {
  return new OciError('UNAVAILABLE', {
    message: 'too many uploads are running at once: try again in a few seconds',
    headers: { 'Retry-After': '5' },
  });
}

/** The memory of an entry besides its key and its value, in bytes. */
const ENTRY_BYTES = 200;

export interface CacheLimits {
  entries: number;
  bytes: number;
  /** It shrinks after all other caches, because its entries are expensive to replace. */
  last?: boolean;
}

/** A cache within its own limits and the budget. It drops the least recently used entries first. */
export class CountedCache<V> {
  readonly #budget: MemoryBudget;
  readonly #limits: CacheLimits;
  readonly #entries = new Map<string, { value: V; bytes: number }>();
  #bytes = 0;

  constructor(budget: MemoryBudget, limits: CacheLimits) {
    this.#budget = budget;
    this.#limits = limits;
    budget.count(this, limits.last);
  }

  get bytes(): number {
    return this.#bytes;
  }

  get(key: string): V | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry.value;
  }

  /** `bytes` is the size of the value. A value that is too large for the cache is not kept. */
  set(key: string, value: V, bytes: number): void {
    this.delete(key);
    const all = bytes + 2 * key.length + ENTRY_BYTES;
    this.#entries.set(key, { value, bytes: all });
    this.#bytes += all;
    while (this.#bytes > this.#limits.bytes || this.#entries.size > this.#limits.entries)
      this.#forgetOldest();
    this.#budget.fit();
  }

  delete(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    this.#bytes -= entry.bytes;
  }

  clear(): void {
    this.#entries.clear();
    this.#bytes = 0;
  }

  shrink(bytes: number): void {
    const wanted = this.#bytes - bytes;
    while (this.#bytes > wanted && this.#entries.size > 0) this.#forgetOldest();
  }

  #forgetOldest(): void {
    const [oldest] = this.#entries.keys();
    if (oldest !== undefined) this.delete(oldest);
  }
}
