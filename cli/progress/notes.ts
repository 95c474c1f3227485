// Notes that repeat: while a registry is away, every attempt of every blob has the same one.
import type { TransferEvent } from '../transfer/events.ts';

export class Notes {
  #last = '';
  #count = 0;

  /** Whether the event is something else than the last note once more. Bytes that move end a series. */
  isNew(event: TransferEvent): boolean {
    if (event.event !== 'note') {
      this.#last = '';
      this.#count = 0;
      return true;
    }
    this.#count = event.message === this.#last ? this.#count + 1 : 1;
    this.#last = event.message;
    return this.#count === 1;
  }

  /** The last note with its number, or null if it came once. */
  get repeated(): string | null {
    return this.#count > 1 ? `${this.#last} (${this.#count} times)` : null;
  }
}
