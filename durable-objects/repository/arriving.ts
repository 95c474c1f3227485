/**
 * Uploads of known digests whose bytes clients of the containerd family store in the bucket themselves. These clients do not come back
 * for a blob: the manifest that names it is the commit. Every method is one step of a transaction that `Repository` opens.
 */
import type { ArrivingBlob } from '../../worker/objects/repository.ts';
import type { Digest } from '../../worker/oci/digest.ts';
import { allRows, firstRow } from '../rows.ts';
import { ARRIVING_BLOBS } from './schema.ts';

/** Rows of one repository. Further uploads are ordinary ones. */
const ROWS_MAX = 500;
/** Uploads of one digest that a manifest looks at: the latest ones. */
const TRIED_MAX = 4;

export class Arriving {
  readonly #sql: SqlStorage;
  /** Undefined if it is not read yet. */
  #count: number | undefined;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  /** False if there are too many. */
  add({ digest, upload, draft, expiresAt }: ArrivingBlob): boolean {
    if (this.#rows() >= ROWS_MAX) return false;
    this.#sql.exec(ARRIVING_BLOBS);
    this.#sql.exec(
      'INSERT INTO arriving_blobs (digest, upload, draft, expires_at) VALUES (?, ?, ?, ?)',
      digest,
      upload,
      draft,
      expiresAt,
    );
    this.#count = undefined;
    return true;
  }

  /** The uploads of these digests, the latest of each first. */
  of(digests: Digest[]): ArrivingBlob[] {
    if (this.#rows() === 0) return [];
    return allRows<ArrivingBlob>(
      this.#sql,
      `SELECT digest, upload, draft, expires_at AS expiresAt FROM
         (SELECT *, ROW_NUMBER() OVER (PARTITION BY digest ORDER BY expires_at DESC) AS place FROM arriving_blobs
          WHERE digest IN (SELECT value FROM json_each(?)))
       WHERE place <= ? ORDER BY digest, place`,
      JSON.stringify(digests),
      TRIED_MAX,
    );
  }

  /** The blob is linked. What other uploads of it have stored is deleted when they expire. */
  arrived(digest: Digest): void {
    if (this.#rows() === 0) return;
    this.#sql.exec('DELETE FROM arriving_blobs WHERE digest = ?', digest);
    this.#count = undefined;
  }

  removeExpired(now: number): void {
    if (this.#rows() === 0) return;
    this.#sql.exec('DELETE FROM arriving_blobs WHERE expires_at <= ?', now);
    this.#count = undefined;
  }

  /** Unix time, ms; null if nothing expires. */
  nextExpiry(): number | null {
    if (this.#rows() === 0) return null;
    const query = 'SELECT MIN(expires_at) AS at FROM arriving_blobs';
    return firstRow<{ at: number | null }>(this.#sql, query)?.at ?? null;
  }

  /** The tables are gone. */
  forget(): void {
    this.#count = undefined;
  }

  #rows(): number {
    if (this.#count !== undefined) return this.#count;
    const hasTable =
      firstRow(this.#sql, `SELECT 1 FROM sqlite_master WHERE name = 'arriving_blobs'`) !== null;
    const query = 'SELECT COUNT(*) AS rows FROM arriving_blobs';
    this.#count = hasTable ? (firstRow<{ rows: number }>(this.#sql, query)?.rows ?? 0) : 0;
    return this.#count;
  }
}
