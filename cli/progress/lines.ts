// Progress for the log of a CI job: one line when a blob begins, every ten seconds, and when it ends.
import { printable } from '../../worker/oci/printable.ts';
import type { Listener } from '../transfer/events.ts';
import { Blobs } from './blobs.ts';
import { bytesText, shortDigest } from './format.ts';
import { Notes } from './notes.ts';
import { endText, progressText, summaryText } from './words.ts';

const EVERY_MS = 10_000;

/** Writes whole lines. */
export function lineProgress(write: (text: string) => void): { listen: Listener; end(): void } {
  const blobs = new Blobs();
  const notes = new Notes();
  const line = (text: string) => write(`${printable(text)}\n`);
  const timer = setInterval(() => {
    const now = performance.now();
    if (notes.repeated !== null) line(notes.repeated);
    for (const blob of blobs.moving) line(`${shortDigest(blob.digest)}  ${progressText(blob, now).trim()}`);
  }, EVERY_MS);
  timer.unref();
  return {
    listen(event) {
      const blob = blobs.apply(event, performance.now());
      if (event.event === 'start') line(`From ${event.from} to ${event.to}`);
      if (notes.isNew(event) && event.event === 'note') line(event.message);
      if (event.event === 'blob-start' && blob !== null) {
        const from = event.offset > 0 ? `, continued at ${bytesText(event.offset)}` : '';
        line(`${shortDigest(blob.digest)}  begins  ${bytesText(blob.size)}${from}`);
      }
      if (event.event === 'blob-end' && blob !== null) line(endText(blob));
      if (event.event === 'manifest') line(`${shortDigest(event.digest)}  manifest`);
      if (event.event === 'end') line(summaryText(event));
    },
    end: () => clearInterval(timer),
  };
}
