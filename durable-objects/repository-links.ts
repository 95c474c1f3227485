/**
 * The links of a repository: the blobs that it holds, those that it let go and whose shards have yet to hear of it, and what
 * it refuses to link. Every method is one step of a transaction that `Repository` opens.
 */
import type { Digest } from '../worker/oci/digest.ts';
import { allRows, firstRow } from './rows.ts';

export interface LinkedBlob {
  digest: Digest;
  key: string;
  /** In bytes. */
  size: number;
  link: string;
}

export class Links {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  get(digest: Digest): LinkedBlob | null {
    return firstRow<LinkedBlob>(
      this.#sql,
      'SELECT digest, key, size, link FROM blobs WHERE digest = ?',
      digest,
    );
  }

  holds(link: string): boolean {
    return this.#has('SELECT 1 FROM blobs WHERE link = ?', link);
  }

  /** Links a blob until `expiresAt`, or for good if a manifest references it. One that is linked keeps the link it has. */
  add({ digest, key, size, link }: LinkedBlob, expiresAt: number): void {
    const before = this.get(digest);
    if (before === null) {
      const expires = this.referencedBy(digest) === null ? expiresAt : null; // A sparse manifest may have been first.
      this.#sql.exec('INSERT INTO blobs VALUES (?, ?, ?, ?, ?)', digest, key, size, link, expires);
      return;
    }
    this.#sql.exec(
      'UPDATE blobs SET expires_at = ? WHERE digest = ? AND expires_at IS NOT NULL',
      expiresAt,
      digest,
    );
    if (before.link !== link) this.#release(link, digest);
  }

  remove({ digest, link }: Pick<LinkedBlob, 'digest' | 'link'>): void {
    this.#sql.exec('DELETE FROM blobs WHERE digest = ?', digest);
    this.#release(link, digest);
  }

  /** A manifest that references the blob, if there is one. */
  referencedBy(digest: Digest): string | null {
    const query = 'SELECT manifest FROM manifest_references WHERE digest = ? LIMIT 1';
    return firstRow<{ manifest: string }>(this.#sql, query, digest)?.manifest ?? null;
  }

  /** Removes the links that are due, some at a time. */
  removeExpired(now: number): void {
    const query = 'SELECT digest, link FROM blobs WHERE expires_at <= ? LIMIT 1000';
    for (const blob of allRows<Pick<LinkedBlob, 'digest' | 'link'>>(this.#sql, query, now)) this.remove(blob);
  }

  nextExpiry(): number | null {
    return (
      firstRow<{ at: number | null }>(
        this.#sql,
        'SELECT MIN(expires_at) AS at FROM blobs WHERE expires_at IS NOT NULL',
      )?.at ?? null
    );
  }

  /** Links that were let go, and whose shards have not heard of it. */
  released(count: number): { link: string; digest: Digest }[] {
    return allRows(this.#sql, 'SELECT link, digest FROM released_links LIMIT ?', count);
  }

  forgetReleased(link: string): void {
    this.#sql.exec('DELETE FROM released_links WHERE link = ?', link);
  }

  /** Whether a link id, or an upload, must not be linked. */
  refuses(id: string): boolean {
    return this.#has('SELECT 1 FROM refusals WHERE id = ?', id);
  }

  refuse(ids: string[], until: number): void {
    for (const id of ids) this.#sql.exec('INSERT OR REPLACE INTO refusals VALUES (?, ?)', id, until);
  }

  removeExpiredRefusals(now: number): void {
    this.#sql.exec('DELETE FROM refusals WHERE expires_at <= ?', now);
  }

  nextRefusalExpiry(): number | null {
    return (
      firstRow<{ at: number | null }>(this.#sql, 'SELECT MIN(expires_at) AS at FROM refusals')?.at ?? null
    );
  }

  #release(link: string, digest: Digest): void {
    this.#sql.exec('INSERT OR IGNORE INTO released_links VALUES (?, ?)', link, digest);
  }

  #has(query: string, value: string): boolean {
    return allRows(this.#sql, query, value).length > 0;
  }
}
