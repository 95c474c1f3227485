/**
 * Limits the slow hashes that an isolate computes per second. A hash delays all other requests of the isolate, so
 * guesses from many addresses must not use all the time.
 */
export class HashBudget {
  readonly #burst: number;
  readonly #perSecond: number;
  #left: number;
  #countedAt = 0;

  constructor(burst: number, perSecond: number) {
    this.#burst = burst;
    this.#perSecond = perSecond;
    this.#left = burst;
  }

  /** Takes one hash. Returns 0, or the time until the next one is available, in ms. */
  take(now: number): number {
    // A clock that goes back adds nothing and removes nothing.
    const passed = Math.max(0, now - this.#countedAt);
    this.#left = Math.min(this.#burst, this.#left + (passed / 1000) * this.#perSecond);
    this.#countedAt = now;
    if (this.#left < 1) return Math.ceil(((1 - this.#left) / this.#perSecond) * 1000);
    this.#left--;
    return 0;
  }

  giveBack(): void {
    this.#left = Math.min(this.#burst, this.#left + 1);
  }
}
