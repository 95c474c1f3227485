// What is known of the blobs that are on their way.
import type { Outcome, TransferEvent } from '../transfer/events.ts';
import { Rate } from './rate.ts';

export interface BlobState {
  readonly digest: string;
  /** In bytes. */
  readonly size: number;
  /** Null until bytes move. */
  offset: number | null;
  /** Where an earlier push had stopped, or 0. */
  begin: number;
  readonly rate: Rate;
  outcome: Outcome | null;
}

/** Keeps the states of all blobs, by what the events say. */
export class Blobs {
  readonly #all = new Map<string, BlobState>();

  /** Returns the blob that the event is about, or null. */
  apply(event: TransferEvent, now: number): BlobState | null {
    if (event.event === 'blob') {
      const { digest, size } = event;
      const fresh = { digest, size, offset: null, begin: 0, rate: new Rate(), outcome: null };
      this.#all.set(digest, fresh);
      return fresh;
    }
    if (!('digest' in event)) return null;
    const blob = this.#all.get(event.digest) ?? null;
    if (blob === null) return null;
    if (event.event === 'blob-start') blob.begin = event.offset;
    if (event.event === 'blob-start' || event.event === 'blob-progress') {
      blob.offset = event.offset;
      blob.rate.add(event.offset, now);
    }
    if (event.event === 'blob-end') blob.outcome = event.outcome;
    return blob;
  }

  /** Those whose bytes move. */
  get moving(): BlobState[] {
    return [...this.#all.values()].filter(({ offset, outcome }) => offset !== null && outcome === null);
  }

  get count(): number {
    return this.#all.size;
  }

  get ended(): number {
    return [...this.#all.values()].filter(({ outcome }) => outcome !== null).length;
  }
}
