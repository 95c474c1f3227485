// What happens while an image is pushed or pulled. The terminal, the log of a CI job and --json show the same events.

/** How a blob got to where it should be. `present`: it was there already. `linked`: the registry had it in another repository. */
export type Outcome = 'sent' | 'received' | 'present' | 'linked';

export type TransferEvent =
  | { event: 'start'; from: string; to: string }
  /** `size` in bytes. */
  | { event: 'blob'; digest: string; mediaType: string; size: number }
  /** Bytes of the blob begin to move, at an offset that is not 0 if an earlier process sent some of it. */
  | { event: 'blob-start'; digest: string; offset: number }
  /** The bytes of the blob up to `offset` have left; less than before if some are sent again. */
  | { event: 'blob-progress'; digest: string; offset: number }
  | { event: 'blob-end'; digest: string; outcome: Outcome }
  | { event: 'manifest'; digest: string; mediaType: string; size: number }
  | { event: 'note'; message: string }
  | ({ event: 'end' } & Summary);

type Direction = 'push' | 'pull';

export interface Amount {
  blobs: number;
  bytes: number;
}

export interface Summary {
  /** Whether the image went to a registry, or came from one. */
  direction: Direction;
  /** Of the image. */
  digest: string;
  /** `HOST/REPOSITORY:TAG@DIGEST`, or where it was written. */
  image: string;
  /** By how each blob got there. `bytes` are those of the blobs. */
  sent: Amount;
  received: Amount;
  present: Amount;
  linked: Amount;
  /** Bytes that moved, those that moved twice counted twice. */
  movedBytes: number;
  seconds: number;
}

export type Listener = (event: TransferEvent) => void;

/** Counts what the events say, for the summary. */
export class Tally {
  readonly #start = performance.now();
  readonly #sizes = new Map<string, number>();
  readonly #offsets = new Map<string, number>();
  readonly #amounts = { sent: none(), received: none(), present: none(), linked: none() };
  #movedBytes = 0;

  count(event: TransferEvent): void {
    if (event.event === 'blob') this.#sizes.set(event.digest, event.size);
    if (event.event === 'blob-start') this.#offsets.set(event.digest, event.offset);
    if (event.event === 'blob-progress') {
      this.#movedBytes += Math.max(0, event.offset - (this.#offsets.get(event.digest) ?? 0));
      this.#offsets.set(event.digest, event.offset);
    }
    if (event.event === 'blob-end') {
      const amount = this.#amounts[event.outcome];
      amount.blobs += 1;
      amount.bytes += this.#sizes.get(event.digest) ?? 0;
    }
  }

  summary(direction: Direction, digest: string, image: string): Summary {
    const seconds = Math.round(performance.now() - this.#start) / 1000;
    return { direction, digest, image, ...this.#amounts, movedBytes: this.#movedBytes, seconds };
  }
}

function none(): Amount {
  return { blobs: 0, bytes: 0 };
}
