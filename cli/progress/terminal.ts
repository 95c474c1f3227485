/**
 * Progress on a terminal. Blobs that have ended are printed once and scroll away. Below them are the blobs whose bytes move, one line
 * each, and a line for the whole; they are redrawn in place, in one write, so that nothing flickers.
 */
import { printable } from '../../worker/oci/printable.ts';
import type { Listener } from '../transfer/events.ts';
import { type BlobState, Blobs } from './blobs.ts';
import { bytesText, countText, shortDigest } from './format.ts';
import { Notes } from './notes.ts';
import { endText, progressText, summaryText } from './words.ts';

export interface Terminal {
  readonly columns?: number;
  readonly rows?: number;
  write(text: string): unknown;
}

const EVERY_MS = 100;
const BAR_MAX = 30;
const BAR_MIN = 8;
const ESC = '\x1b[';
const HIDE_CURSOR = `${ESC}?25l`;
const SHOW_CURSOR = `${ESC}?25h`;
const CLEAR_LINE_REST = `${ESC}K`;
const CLEAR_BELOW = `${ESC}J`;

/** Call `end` in every case: it shows the cursor again. */
export function terminalProgress(terminal: Terminal): { listen: Listener; end(): void } {
  const blobs = new Blobs();
  const printed: string[] = [];
  const notes = new Notes();
  let drawn = 0;
  let isEnded = false;
  const draw = (isLast = false) => {
    // A terminal that does not know its size says 0.
    const width = Math.max(1, (terminal.columns || 80) - 1);
    const room = Math.max(1, (terminal.rows || 24) - 2);
    const again = notes.repeated === null ? [] : [fit(notes.repeated, width)];
    const live = isLast ? [] : [...again, ...liveLines(blobs, width, room - again.length)];
    // Lines that stay may wrap: the cursor never goes up over them.
    const above = printed.splice(0).map((line) => `\r${printable(line)}\n`);
    // The terminal shows "^C" where the cursor stands.
    const up = drawn === 0 ? '\r' : `\r${ESC}${drawn}A`;
    const clear = above.length === 0 ? '' : CLEAR_BELOW;
    const below = live.map((line) => `\r${line}${CLEAR_LINE_REST}\n`);
    terminal.write(`${up}${clear}${above.join('')}${below.join('')}${CLEAR_BELOW}`);
    drawn = live.length;
  };
  const showCursor = () => terminal.write(SHOW_CURSOR);
  // Also when the process ends in the middle.
  process.once('exit', showCursor);
  terminal.write(HIDE_CURSOR);
  const timer = setInterval(draw, EVERY_MS);
  timer.unref();
  return {
    listen(event) {
      const blob = blobs.apply(event, performance.now());
      if (event.event === 'start') printed.push(`From ${event.from} to ${event.to}`);
      if (notes.isNew(event) && event.event === 'note') printed.push(event.message);
      if (event.event === 'blob-start' && blob !== null && event.offset > 0)
        printed.push(`${shortDigest(blob.digest)}  continues at ${bytesText(event.offset)}`);
      if (event.event === 'blob-end' && blob !== null) printed.push(endText(blob));
      if (event.event === 'manifest') printed.push(`${shortDigest(event.digest)}  manifest`);
      if (event.event === 'end') printed.push(summaryText(event));
    },
    end() {
      if (isEnded) return;
      isEnded = true;
      clearInterval(timer);
      draw(true);
      showCursor();
      process.off('exit', showCursor);
    },
  };
}

function liveLines(blobs: Blobs, width: number, room: number): string[] {
  const now = performance.now();
  const lines = blobs.moving.map((blob) => fit(blobLine(blob, now, width), width));
  const shown = lines.length < room ? lines : lines.slice(0, Math.max(0, room - 2));
  const hidden = lines.length - shown.length;
  const more = hidden > 0 ? [`and ${hidden} more`] : [];
  const whole = `${blobs.ended} of ${countText(blobs.count, 'blob')} done`;
  return [...shown, ...[...more, whole].map((line) => fit(line, width))];
}

/** `4f4fb700ef54  [######>      ]  45%  40.1 MB of 88.1 MB  12.0 MB/s  4 s left`. */
function blobLine(blob: BlobState, now: number, width: number): string {
  const name = shortDigest(blob.digest);
  const words = progressText(blob, now);
  const room = Math.min(BAR_MAX, width - name.length - LONGEST_WORDS - 6);
  if (room < BAR_MIN) return `${name}  ${words}`;
  const filled = blob.size === 0 ? room : Math.floor((room * (blob.offset ?? 0)) / blob.size);
  const bar = `${'#'.repeat(filled)}${'-'.repeat(room - filled)}`;
  return `${name}  [${bar}] ${words}`;
}

/** So that bars have the same width while the words next to them change. */
const LONGEST_WORDS = ' 45%  40.1 MB of 88.1 MB  12.0 MB/s  4 min 12 s left'.length;

/** At most `width` columns, so that no line wraps: a wrapped line would make the cursor go up too little. */
function fit(text: string, width: number): string {
  const plain = printable(text);
  let columns = 0;
  let kept = '';
  for (const character of plain) {
    columns += isWide(character) ? 2 : 1;
    if (columns > width) return kept;
    kept += character;
  }
  return kept;
}

/** Characters that may take two columns: East Asian ones and pictographs. Unicode Standard Annex 11. */
function isWide(character: string): boolean {
  return (character.codePointAt(0) ?? 0) >= 0x1100;
}
