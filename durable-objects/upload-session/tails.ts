/**
 * The tails of uploads: the bytes behind the last part. The first TAIL_ROW_BYTES of a tail are in the row of the upload, which the
 * caller writes. The others are in rows of their own. Every method is one step of a transaction that `UploadSession` opens.
 */
import { allRows, firstRow } from '../rows.ts';

/** A tail is kept in rows of this size, because a row may have 2 MB. A whole part is four rows. */
const TAIL_ROW_BYTES = 1.75 * 1024 * 1024;

export class Tails {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  read(upload: string): Uint8Array {
    const query = 'SELECT bytes FROM upload_tails WHERE upload = ? ORDER BY seq';
    const rows = allRows<{ bytes: ArrayBuffer }>(this.#sql, query, upload);
    return joined([this.#first(upload), ...rows.map(({ bytes }) => new Uint8Array(bytes))]);
  }

  /**
   * Adds bytes to a tail of `before` bytes. They fill the last row first, so that many small chunks do not make many rows. Returns
   * the new bytes of the upload's own row; null if these do not change.
   */
  add(upload: string, before: number, bytes: Uint8Array): ArrayBuffer | null {
    let first: Uint8Array | null = null;
    let at = 0;
    if (before < TAIL_ROW_BYTES && (before === 0 || bytes.length > 0)) {
      at = Math.min(TAIL_ROW_BYTES - before, bytes.length);
      const some = bytes.subarray(0, at);
      first = before === 0 ? some : joined([this.#first(upload), some]);
    }
    while (at < bytes.length) {
      const seq = Math.floor((before + at) / TAIL_ROW_BYTES);
      const started = (before + at) % TAIL_ROW_BYTES;
      const some = bytes.subarray(at, at + TAIL_ROW_BYTES - started);
      const row = started === 0 ? some : joined([this.#row(upload, seq), some]);
      this.#sql.exec(
        `INSERT INTO upload_tails (upload, seq, bytes) VALUES (?, ?, ?)
         ON CONFLICT (upload, seq) DO UPDATE SET bytes = excluded.bytes`,
        upload,
        seq,
        bufferOf(row),
      );
      at += some.length;
    }
    return first === null ? null : bufferOf(first);
  }

  /** Replaces a tail of `before` bytes. Returns the new bytes of the upload's own row. */
  replace(upload: string, before: number, bytes: Uint8Array): ArrayBuffer | null {
    const first = this.add(upload, 0, bytes);
    const rows = Math.max(1, Math.ceil(bytes.length / TAIL_ROW_BYTES));
    if (before > rows * TAIL_ROW_BYTES)
      this.#sql.exec('DELETE FROM upload_tails WHERE upload = ? AND seq >= ?', upload, rows);
    return first;
  }

  /** Removes all rows except the upload's own. */
  remove(upload: string): void {
    this.#sql.exec('DELETE FROM upload_tails WHERE upload = ?', upload);
  }

  #first(upload: string): Uint8Array {
    const row = firstRow<{ tail: ArrayBuffer | null }>(
      this.#sql,
      'SELECT tail FROM uploads WHERE id = ?',
      upload,
    );
    return new Uint8Array(row?.tail ?? new ArrayBuffer(0));
  }

  #row(upload: string, seq: number): Uint8Array {
    const query = 'SELECT bytes FROM upload_tails WHERE upload = ? AND seq = ?';
    const row = firstRow<{ bytes: ArrayBuffer }>(this.#sql, query, upload, seq);
    if (row === null) throw new Error('a row of a tail is missing');
    return new Uint8Array(row.bytes);
  }
}

function bufferOf(bytes: Uint8Array): ArrayBuffer {
  return bytes.slice().buffer as ArrayBuffer;
}

function joined(pieces: Uint8Array[]): Uint8Array {
  const [only] = pieces;
  if (only !== undefined && pieces.length === 1) return only;
  const bytes = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}
