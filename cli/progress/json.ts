// `--json`: every event on one line, for programs.
import { escapedJson } from '../../worker/oci/printable.ts';
import type { Listener } from '../transfer/events.ts';

/** A blob's progress is written at most this often. */
const EVERY_MS = 1_000;

export function jsonProgress(write: (text: string) => void): { listen: Listener; end(): void } {
  const written = new Map<string, number>();
  return {
    listen(event) {
      if (event.event === 'blob-progress') {
        const now = performance.now();
        if (now - (written.get(event.digest) ?? 0) < EVERY_MS) return;
        written.set(event.digest, now);
      }
      if (event.event === 'blob-end') written.delete(event.digest);
      write(`${escapedJson(event)}\n`);
    },
    end: () => {},
  };
}
