/**
 * What a value may be while many clients write it at once. Each write has an interval, from before it was sent until its
 * answer was there, and counts at some moment in it. A read is right if a write of its value may have been the last.
 */

/** The registry has said or done what it must not. */
export class Violation extends Error {}

/** When a request was under way, in ms. */
export interface Span {
  start: number;
  end: number;
}

export interface Write<T> {
  value: T;
  /** Both in ms; the end is Infinity while the outcome is not known. */
  start: number;
  end: number;
  /** What it surely replaced: everything, nothing (it may not have been done), or one value. */
  replaces: 'everything' | 'nothing' | { only: T };
}

export class Register<T> {
  #writes: Write<T>[];

  constructor(initial: T) {
    this.#writes = [{ value: initial, start: -Infinity, end: -Infinity, replaces: 'everything' }];
  }

  /** Notes a write that begins; it may count from now on. */
  begin(value: T, start: number): Write<T> {
    const write: Write<T> = { value, start, end: Infinity, replaces: 'nothing' };
    this.#writes.push(write);
    return write;
  }

  add(write: Write<T>): void {
    this.#writes.push(write);
  }

  /** The write was refused. */
  drop(write: Write<T>): void {
    this.#writes = this.#writes.filter((other) => other !== write);
  }

  /** Every value that it may have had between `start` and `end`. */
  possible(start: number, end: number): Set<T> {
    return new Set(
      this.#writes
        .filter((write) => write.start <= end && !this.#isReplaced(write, start))
        .map(({ value }) => value),
    );
  }

  can(value: T, start: number, end: number): boolean {
    return this.possible(start, end).has(value);
  }

  /** True where it had this value all the time. */
  must(value: T, start: number, end: number): boolean {
    const possible = this.possible(start, end);
    return possible.size === 1 && possible.has(value);
  }

  /** What was read is what was last written: anything older is replaced. `oldest` is when the oldest request began. */
  read(value: T, start: number, end: number, oldest: number): void {
    this.#writes.push({ value, start, end, replaces: 'everything' });
    if (this.#writes.length > 8) this.#forget(oldest);
  }

  toString(): string {
    return this.#writes
      .map(({ value, start, end, replaces }) => {
        const what = typeof replaces === 'string' ? replaces : `only ${replaces.only}`;
        return `${value} in ${start.toFixed(0)}..${end.toFixed(0)} (replaces ${what})`;
      })
      .join('; ');
  }

  #isReplaced(write: Write<T>, before: number): boolean {
    return this.#writes.some(
      ({ start, end, replaces }) =>
        write.end < start &&
        end < before &&
        (replaces === 'everything' || (replaces !== 'nothing' && replaces.only === write.value)),
    );
  }

  /** Writes that no request which is under way can see. */
  #forget(oldest: number): void {
    this.#writes = this.#writes.filter((write) => !this.#isReplaced(write, oldest));
  }
}
