/** The rate of the last seconds, from offsets that grow. */
export class Rate {
  readonly #samples: { at: number; offset: number }[] = [];

  /** `at` in ms. */
  add(offset: number, at: number): void {
    const last = this.#samples.at(-1);
    // Bytes are sent again: what was measured before no longer fits.
    if (last !== undefined && offset < last.offset) this.#samples.length = 0;
    if (last !== undefined && at - last.at < SAMPLE_MS && this.#samples.length > 1) this.#samples.pop();
    this.#samples.push({ at, offset });
    while (this.#samples.length > 2 && at - (this.#samples[0]?.at ?? at) > WINDOW_MS) this.#samples.shift();
  }

  /** Bytes for each second; 0 while nothing is known. */
  at(now: number): number {
    const [first] = this.#samples;
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined || now - first.at < SAMPLE_MS) return 0;
    return ((last.offset - first.offset) * 1000) / (now - first.at);
  }
}

const SAMPLE_MS = 200;
const WINDOW_MS = 5_000;
