/** The tails of uploads: the bytes behind the last part, in rows. Every method is one step of a transaction that `UploadSession` opens. */
import { TAIL_ROW_BYTES } from '../worker/oci/limits.ts';
import { allRows, firstRow } from './rows.ts';

export class Tails {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  read(upload: string): Uint8Array {
    const query = 'SELECT bytes FROM upload_tails WHERE upload = ? ORDER BY seq';
    const rows = allRows<{ bytes: ArrayBuffer }>(this.#sql, query, upload);
    return joined(rows.map(({ bytes }) => new Uint8Array(bytes)));
  }

  /** Writes bytes behind those that are there. They fill the last row first: many small chunks do not make many rows. */
  add(upload: string, before: number, bytes: Uint8Array): void {
    let at = 0;
    let seq = Math.floor(before / TAIL_ROW_BYTES);
    const started = before % TAIL_ROW_BYTES;
    if (started > 0 && bytes.length > 0) {
      at = Math.min(TAIL_ROW_BYTES - started, bytes.length);
      this.#fill(upload, seq++, bytes.subarray(0, at));
    }
    for (; at < bytes.length; at += TAIL_ROW_BYTES, seq++) {
      this.#sql.exec(
        'INSERT INTO upload_tails (upload, seq, bytes) VALUES (?, ?, ?)',
        upload,
        seq,
        bytes.slice(at, at + TAIL_ROW_BYTES).buffer,
      );
    }
  }

  remove(upload: string): void {
    this.#sql.exec('DELETE FROM upload_tails WHERE upload = ?', upload);
  }

  #fill(upload: string, seq: number, bytes: Uint8Array): void {
    const query = 'SELECT bytes FROM upload_tails WHERE upload = ? AND seq = ?';
    const row = firstRow<{ bytes: ArrayBuffer }>(this.#sql, query, upload, seq);
    if (row === null) throw new Error('a row of a tail is not there');
    this.#sql.exec(
      'UPDATE upload_tails SET bytes = ? WHERE upload = ? AND seq = ?',
      joined([new Uint8Array(row.bytes), bytes]).buffer as ArrayBuffer,
      upload,
      seq,
    );
  }
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
