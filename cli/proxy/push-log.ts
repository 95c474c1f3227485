// One line for each push.

interface Push {
  startedAt: number;
  usedAt: number;
  bytes: number;
  blobs: number;
}

/** Repositories with an unfinished push that are remembered. */
const PUSHES_MAX = 1_000;
/** What follows later belongs to another push. */
const PAUSE_MS = 15 * 60 * 1000;

export class PushLog {
  readonly #print: (line: string) => void;
  readonly #pushes = new Map<string, Push>();

  constructor(print: (line: string) => void) {
    this.#print = print;
  }

  /** An upload has started. */
  started(repository: string): void {
    this.#of(repository);
  }

  blob(repository: string, bytes: number): void {
    const push = this.#of(repository);
    push.bytes += bytes;
    push.blobs += 1;
  }

  /** Only a tag ends a push: a manifest by digest may be a part of an image. */
  manifest(repository: string, reference: string): void {
    const push = this.#of(repository);
    if (reference.includes(':')) return;
    const { startedAt, bytes, blobs } = push;
    this.#pushes.delete(repository);
    const name = `${repository}:${reference}`;
    const seconds = (Date.now() - startedAt) / 1000;
    const rate = seconds > 0 && bytes > 0 ? `, ${sizeOf(bytes / seconds)}/s` : '';
    const sent = blobs === 0 ? 'no blobs' : `${blobs} ${blobs === 1 ? 'blob' : 'blobs'}, ${sizeOf(bytes)}`;
    this.#print(`pushed ${name}: ${sent} in ${seconds.toFixed(1)} s${rate}`);
  }

  #of(repository: string): Push {
    const now = Date.now();
    const known = this.#pushes.get(repository);
    if (known !== undefined && now - known.usedAt < PAUSE_MS) {
      known.usedAt = now;
      return known;
    }
    const [oldest] = this.#pushes.keys();
    if (oldest !== undefined && this.#pushes.size >= PUSHES_MAX) this.#pushes.delete(oldest);
    const push = { startedAt: now, usedAt: now, bytes: 0, blobs: 0 };
    this.#pushes.set(repository, push);
    return push;
  }
}

const UNITS = ['kB', 'MB', 'GB', 'TB'];

function sizeOf(bytes: number): string {
  let value = bytes;
  let unit = 'B';
  for (const next of UNITS) {
    if (value < 1000) break;
    value /= 1000;
    unit = next;
  }
  return unit === 'B' ? `${Math.round(value)} B` : `${value.toFixed(1)} ${unit}`;
}
