/**
 * When tags and digests were pulled last. A pull is sampled: of each tag or digest, at most one in an hour writes a row, and it does so
 * after its answer.
 */
import { firstRow } from '../rows.ts';

/** A pull within this time after one that was recorded is not recorded. */
const PULL_SAMPLE_MS = 3600 * 1000;
/** Tags and digests whose last record an instance remembers. It costs a read to find out again. */
const REMEMBERED_MAX = 20_000;

/** Made with the first pull, because a table costs a row in each repository. */
const PULLS = `
  CREATE TABLE IF NOT EXISTS pulls (
    reference TEXT PRIMARY KEY, -- a tag or a digest
    at INTEGER NOT NULL
  ) WITHOUT ROWID;
`;

export class Pulls {
  readonly #sql: SqlStorage;
  readonly #recorded = new Map<string, number>();
  readonly #waiting = new Map<string, number>();
  #hasTable = false;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  /** Notes a pull. True if `write` should be called, once the pull has been answered. */
  note(reference: string, now: number): boolean {
    const last = this.#recorded.get(reference);
    if (last !== undefined && last <= now && now < last + PULL_SAMPLE_MS) return false;
    if (this.#recorded.size >= REMEMBERED_MAX) this.#recorded.clear();
    this.#recorded.set(reference, now);
    this.#waiting.set(reference, now);
    return this.#waiting.size === 1;
  }

  /** Writes the pulls that were noted. One of an earlier instance within the hour is not written again. */
  write(): void {
    if (this.#waiting.size === 0) return;
    this.makeTable();
    for (const [reference, at] of this.#waiting) {
      this.#sql.exec(
        `INSERT INTO pulls (reference, at) VALUES (?1, ?2)
         ON CONFLICT DO UPDATE SET at = ?2 WHERE at <= ?3 OR at > ?2`,
        reference,
        at,
        at - PULL_SAMPLE_MS,
      );
    }
    this.#waiting.clear();
  }

  /** Unix time, ms; null for never. */
  lastOf(reference: string): number | null {
    this.makeTable();
    return (
      firstRow<{ at: number }>(this.#sql, 'SELECT at FROM pulls WHERE reference = ?', reference)?.at ?? null
    );
  }

  makeTable(): void {
    if (!this.#hasTable) this.#sql.exec(PULLS);
    this.#hasTable = true;
  }

  /** Removes up to `count` rows of tags and digests that are no longer here. Returns how many. */
  removeStale(count: number): number {
    this.makeTable();
    const removed = this.#sql.exec(
      `DELETE FROM pulls WHERE reference IN (SELECT p.reference FROM pulls p
         WHERE NOT EXISTS (SELECT 1 FROM tags t WHERE t.name = p.reference)
           AND NOT EXISTS (SELECT 1 FROM manifests m WHERE m.digest = p.reference) LIMIT ?)`,
      count,
    );
    return removed.rowsWritten;
  }

  /** The tables are gone. */
  forget(): void {
    this.#recorded.clear();
    this.#waiting.clear();
    this.#hasTable = false;
  }
}
