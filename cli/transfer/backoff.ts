// How long to wait before a request is sent again.
import { setTimeout as delay } from 'node:timers/promises';

const FIRST_MS = 200;
const LONGEST_MS = 20_000;
const RETRY_AFTER_MAX_MS = 120_000;

/** The waits of one operation. The first repetition is at once: most lost connections are stale ones. */
export class Backoff {
  #attempts = 0;
  readonly #attemptsMax: () => number;
  readonly #until: number;

  /** The number of attempts may change while the operation runs. No attempt begins after `patienceMs`. */
  constructor(attemptsMax: () => number, patienceMs = Number.POSITIVE_INFINITY) {
    this.#attemptsMax = attemptsMax;
    this.#until = performance.now() + patienceMs;
  }

  /** The operation got further, so the next failure is a first one again. */
  reset(): void {
    this.#attempts = 0;
  }

  /** Whether no attempt is left after the wait that the registry asked for. */
  isSpent(retryAfter: string | null): boolean {
    return (
      this.#attempts >= this.#attemptsMax() || performance.now() + this.#waitMs(retryAfter) > this.#until
    );
  }

  /**
   * Waits before the next attempt: a random time up to a limit that doubles, or what the registry asked for in `Retry-After`, and not
   * less than `leastMs`.
   *
   * Throws the signal's reason when it is aborted.
   */
  async wait(retryAfter: string | null, signal: AbortSignal | undefined, leastMs = 0): Promise<void> {
    const ms = Math.max(leastMs, this.#waitMs(retryAfter));
    this.#attempts += 1;
    try {
      if (ms > 0) await delay(ms, undefined, signal === undefined ? {} : { signal });
    } finally {
      // The timer throws an error of its own.
      signal?.throwIfAborted();
    }
  }

  #waitMs(retryAfter: string | null): number {
    const limit = this.#attempts === 0 ? 0 : Math.min(LONGEST_MS, FIRST_MS * 2 ** this.#attempts);
    const asked = /^\d{1,6}$/.test(retryAfter ?? '') ? Number(retryAfter) * 1000 : 0;
    return Math.min(RETRY_AFTER_MAX_MS, asked) + limit * (0.5 + Math.random() / 2);
  }
}
