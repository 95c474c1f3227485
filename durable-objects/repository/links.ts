/**
 * The links of a repository: its blobs, the links that it removed but has not reported to their shards yet, and the ids that it
 * refuses to link. Every method is one step of a transaction that `Repository` opens.
 *
 * A blob that no manifest references expires. A row of `expiries` says when to check it. A manifest that references the blob
 * changes neither that row nor the row of the blob, so pushing it writes fewer rows.
 */

import { isInlineKey } from '../../worker/blobs/storage-key.ts';
import type { BlobAnswer, LinkedBlob, LinkIdentity } from '../../worker/objects/repository.ts';
import type { Digest } from '../../worker/oci/digest.ts';
import { allRows, EXPIRED_ROWS_AT_A_TIME, firstRow } from '../rows.ts';

type BlobRow = LinkedBlob & {
  expires_at: number | null;
  deleted_at: number | null;
  bytes: ArrayBuffer | null;
};

export class Links {
  readonly #sql: SqlStorage;
  /** How long a blob without a manifest is kept. */
  readonly #graceMs: number;
  /** A read renews the time if less than this is left. A client that was told of a blob has at least this long to push its manifest. */
  readonly #renewedMs: number;

  constructor(sql: SqlStorage, graceMs: number) {
    this.#sql = sql;
    this.#graceMs = graceMs;
    this.#renewedMs = graceMs / 2;
  }

  /**
   * The blob, for an answer to a client. The client may then push a manifest, so an expiry that is near is put off. Writes only if a
   * blob that no manifest references has less than half of its time left.
   */
  find(digest: Digest, now: number): BlobAnswer | null {
    const row = this.#row(digest);
    return row === null || row.deleted_at !== null ? null : this.#found(row, now);
  }

  #found(row: BlobRow, now: number): BlobAnswer {
    const { expires_at: expiresAt, deleted_at: _, bytes, ...linked } = row;
    const { digest } = linked;
    const blob = { ...linked, bytes: bytes === null ? null : new Uint8Array(bytes) };
    if (expiresAt !== null && expiresAt >= now + this.#renewedMs)
      return { ...blob, safeUntil: expiresAt - this.#renewedMs };
    if (this.referencedBy(digest) !== null) return { ...blob, safeUntil: null };
    this.#sql.exec('UPDATE blobs SET expires_at = ? WHERE digest = ?', now + this.#graceMs, digest);
    return { ...blob, safeUntil: now + this.#graceMs - this.#renewedMs };
  }

  get(digest: Digest): LinkedBlob | null {
    const query = 'SELECT digest, key, size, link FROM blobs WHERE digest = ? AND deleted_at IS NULL';
    return firstRow<LinkedBlob>(this.#sql, query, digest);
  }

  /** As `get`, also if the blob is hidden. */
  getAny(digest: Digest): LinkedBlob | null {
    return firstRow<LinkedBlob>(
      this.#sql,
      'SELECT digest, key, size, link FROM blobs WHERE digest = ?',
      digest,
    );
  }

  holds({ digest, key, link }: LinkIdentity): boolean {
    const query = 'SELECT 1 FROM blobs WHERE digest = ? AND key = ? AND link = ?';
    return firstRow(this.#sql, query, digest, key, link) !== null;
  }

  /** The bytes of a small blob; null if they are in the store. */
  bytes(digest: Digest): Uint8Array | null {
    const query = 'SELECT bytes FROM blobs WHERE digest = ? AND bytes IS NOT NULL AND deleted_at IS NULL';
    const row = firstRow<{ bytes: ArrayBuffer }>(this.#sql, query, digest);
    return row === null ? null : new Uint8Array(row.bytes);
  }

  /**
   * Links a blob; `bytes` has the bytes of one that is not in the store. A blob that is linked already keeps its link, unless its
   * bytes are in the store and now come with the request.
   */
  add({ digest, key, size, link }: LinkedBlob, bytes: Uint8Array | null, now: number): void {
    const row = this.#row(digest);
    const before = row === null ? null : this.#found(row, now);
    if (row !== null && row.deleted_at !== null) this.show([digest]);
    if (before !== null && bytes !== null && !isInlineKey(before.key)) {
      // The new link does not depend on the store, which may have lost the bytes.
      this.#sql.exec(
        'UPDATE blobs SET key = ?, link = ?, bytes = ? WHERE digest = ?',
        key,
        link,
        bytes,
        digest,
      );
      this.#release(before);
      return;
    }
    const expiresAt = now + this.#graceMs;
    if (before !== null) {
      if (before.link !== link) this.#release({ link, digest, key });
      // A purge of the trash must not take it before the client has pushed a manifest.
      if (this.#isOnlyInTrash(digest))
        this.#sql.exec('UPDATE blobs SET expires_at = ? WHERE digest = ?', expiresAt, digest);
      return;
    }
    this.#sql.exec(
      'INSERT INTO blobs (digest, key, size, link, expires_at, bytes) VALUES (?, ?, ?, ?, ?, ?)',
      digest,
      key,
      size,
      link,
      expiresAt,
      bytes,
    );
    this.#checkExpiryAt(digest, expiresAt);
  }

  remove(blob: LinkIdentity): void {
    this.#sql.exec('DELETE FROM blobs WHERE digest = ?', blob.digest);
    this.#release(blob);
  }

  /** Hides a blob that only manifests in the trash name. */
  hide(digest: Digest, now: number): void {
    this.#sql.exec('UPDATE blobs SET deleted_at = ? WHERE digest = ?', now, digest);
  }

  /** Shows hidden blobs again. */
  show(digests: Digest[]): void {
    this.#sql.exec(
      'UPDATE blobs SET deleted_at = NULL WHERE digest IN (SELECT value FROM json_each(?)) AND deleted_at IS NOT NULL',
      JSON.stringify(digests),
    );
  }

  /** Shows hidden blobs again that manifests name which are not in the trash. */
  showNeeded(): void {
    this.#sql.exec(
      `UPDATE blobs SET deleted_at = NULL WHERE deleted_at IS NOT NULL AND EXISTS
         (SELECT 1 FROM named_by n JOIN manifests m ON m.digest = n.manifest WHERE n.digest = blobs.digest)`,
    );
  }

  /** Removes those blobs that no manifest references, also none in the trash, and that were not pushed since a time (Unix time, ms). */
  removeUnreferenced(digests: Digest[], since: number): void {
    for (const digest of digests) {
      const blob = this.#row(digest);
      if (blob === null || this.referencedBy(digest) !== null) continue;
      if ((blob.expires_at ?? 0) <= since + this.#graceMs) this.remove(blob);
    }
  }

  /** The digest of a manifest that references the digest, also of one in the trash; null if no manifest does. */
  referencedBy(digest: Digest): string | null {
    const query = 'SELECT manifest FROM named_by WHERE digest = ? LIMIT 1';
    return firstRow<{ manifest: string }>(this.#sql, query, digest)?.manifest ?? null;
  }

  /** Makes those blobs expire that no manifest references now. */
  expire(digests: Digest[], now: number): void {
    const expiresAt = now + this.#graceMs;
    const freed = allRows<{ digest: Digest }>(
      this.#sql,
      `UPDATE blobs SET expires_at = ? WHERE digest IN (SELECT value FROM json_each(?))
         AND NOT EXISTS (SELECT 1 FROM named_by n WHERE n.digest = blobs.digest) RETURNING digest`,
      expiresAt,
      JSON.stringify(digests),
    );
    for (const { digest } of freed) this.#checkExpiryAt(digest, expiresAt);
  }

  /** Removes the links that have expired, up to EXPIRED_ROWS_AT_A_TIME. */
  removeExpired(now: number): void {
    const due = allRows<{ digest: Digest }>(
      this.#sql,
      `DELETE FROM expiries WHERE (at, digest) IN
         (SELECT at, digest FROM expiries WHERE at <= ? ORDER BY at LIMIT ?) RETURNING digest`,
      now,
      EXPIRED_ROWS_AT_A_TIME,
    );
    for (const { digest } of due) {
      const blob = this.#row(digest);
      if (blob === null || this.referencedBy(digest) !== null) continue;
      if ((blob.expires_at ?? 0) > now) this.#checkExpiryAt(digest, blob.expires_at ?? 0);
      else this.remove(blob);
    }
  }

  nextExpiry(): number | null {
    return firstRow<{ at: number | null }>(this.#sql, 'SELECT MIN(at) AS at FROM expiries')?.at ?? null;
  }

  /** Links that were removed, and that their shards do not know of yet. */
  released(count: number): { link: string; digest: Digest; key: string | null }[] {
    return allRows(this.#sql, 'SELECT link, digest, key FROM released_links LIMIT ?', count);
  }

  forgetReleased(links: string[]): void {
    this.#sql.exec(
      'DELETE FROM released_links WHERE link IN (SELECT value FROM json_each(?))',
      JSON.stringify(links),
    );
  }

  /** Whether the id of a link or an upload is refused. */
  refuses(id: string): boolean {
    return firstRow(this.#sql, 'SELECT 1 FROM refusals WHERE id = ?', id) !== null;
  }

  refuse(ids: string[], until: number): void {
    for (const id of ids)
      this.#sql.exec('INSERT OR REPLACE INTO refusals (id, expires_at) VALUES (?, ?)', id, until);
  }

  /** Up to EXPIRED_ROWS_AT_A_TIME. */
  removeExpiredRefusals(now: number): void {
    this.#sql.exec(
      `DELETE FROM refusals WHERE id IN
         (SELECT id FROM refusals WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)`,
      now,
      EXPIRED_ROWS_AT_A_TIME,
    );
  }

  nextRefusalExpiry(): number | null {
    return (
      firstRow<{ at: number | null }>(this.#sql, 'SELECT MIN(expires_at) AS at FROM refusals')?.at ?? null
    );
  }

  #row(digest: Digest): BlobRow | null {
    const query = 'SELECT digest, key, size, link, expires_at, deleted_at, bytes FROM blobs WHERE digest = ?';
    return firstRow<BlobRow>(this.#sql, query, digest);
  }

  #isOnlyInTrash(digest: Digest): boolean {
    const query = `SELECT 1 WHERE EXISTS (SELECT 1 FROM named_by WHERE digest = ?1) AND NOT EXISTS
      (SELECT 1 FROM named_by n JOIN manifests m ON m.digest = n.manifest WHERE n.digest = ?1)`;
    return firstRow(this.#sql, query, digest) !== null;
  }

  #checkExpiryAt(digest: Digest, at: number): void {
    this.#sql.exec('INSERT OR IGNORE INTO expiries (at, digest) VALUES (?, ?)', at, digest);
  }

  /** A shard knows only links to content in the store. */
  #release({ link, digest, key }: LinkIdentity): void {
    if (isInlineKey(key)) return;
    this.#sql.exec(
      'INSERT OR IGNORE INTO released_links (link, digest, key) VALUES (?, ?, ?)',
      link,
      digest,
      key,
    );
  }
}
