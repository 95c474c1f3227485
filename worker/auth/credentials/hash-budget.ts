/**
 * How many slow hashes an isolate computes in a second. Each one holds up all its other requests, so guesses must not be able
 * to fill the time, from however many addresses they come.
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

  /** Takes one. Gives 0, or how long until there is another, in ms. */
  take(now: number): number {
    // A clock that was put back gives nothing, and takes nothing.
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
