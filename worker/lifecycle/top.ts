/** The images with the latest times, as many as a rule keeps. */
import type { Digest } from '../oci/digest.ts';

/** So many more images than the rule keeps are held before the oldest are dropped. */
const SLACK = 256;

export class Top {
  readonly #count: number;
  /** The latest time of each image. An image that was dropped may come back with a later time. */
  readonly #times = new Map<Digest, number>();
  /** Images before this time are not kept. */
  #bound = Number.NEGATIVE_INFINITY;
  #isDirty = false;
  #dropAt: number;

  constructor(count: number) {
    this.#count = count;
    this.#dropAt = 2 * count + SLACK;
  }

  /** A tag of an image, and its time; null for a tag without one, which does not count. */
  see(digest: Digest, time: number | null): void {
    if (time === null || time < this.#bound) return;
    if (time <= (this.#times.get(digest) ?? Number.NEGATIVE_INFINITY)) return;
    this.#times.set(digest, time);
    this.#isDirty = true;
    if (this.#times.size < this.#dropAt) return;
    this.#drop();
    // Images with equal times are all held, so the next drop must not be at the next image.
    this.#dropAt = 2 * Math.max(this.#times.size, this.#count) + SLACK;
  }

  /** Whether the image has a place. */
  has(digest: Digest): boolean {
    if (this.#isDirty) this.#drop();
    return this.#times.has(digest);
  }

  #drop(): void {
    this.#isDirty = false;
    if (this.#times.size <= this.#count) return;
    const latest = [...this.#times.values()].sort((a, b) => b - a);
    this.#bound = latest[this.#count - 1] ?? this.#bound;
    for (const [digest, time] of this.#times) if (time < this.#bound) this.#times.delete(digest);
  }
}
