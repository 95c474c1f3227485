/** What is remembered by texts that strangers can make long: bounded by the length of these, not only by their number. */
export class Remembered<T> {
  readonly #entries = new Map<string, T>();
  readonly #maxEntries: number;
  readonly #maxLength: number;
  #length = 0;

  constructor(maxEntries: number, maxLength: number) {
    this.#maxEntries = maxEntries;
    this.#maxLength = maxLength;
  }

  get(text: string): T | undefined {
    return this.#entries.get(text);
  }

  /** Forgets all others where they are too many, or too long together. */
  set(text: string, value: T): void {
    if (this.#entries.has(text)) return void this.#entries.set(text, value);
    if (this.#entries.size >= this.#maxEntries || this.#length + text.length > this.#maxLength) this.clear();
    this.#length += text.length;
    this.#entries.set(text, value);
  }

  clear(): void {
    this.#entries.clear();
    this.#length = 0;
  }
}
