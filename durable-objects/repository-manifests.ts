/**
 * The manifests of a repository: their bytes, tags, history, references and referrers. Every method is one step of a
 * transaction that `Repository` opens.
 */
import type { Descriptor } from '../worker/oci/descriptor.ts';
import type { Digest } from '../worker/oci/digest.ts';
import { REFERRERS_PAGE_BYTES, ROW_BYTES } from '../worker/oci/limits.ts';
import type { StoredManifest } from '../worker/oci/manifest.ts';
import type { Listing } from '../worker/oci/page.ts';
import type { ManifestPut } from '../worker/oci/registry.ts';
import { allRows } from './rows.ts';

/** A manifest as it crosses to the Worker. */
export type ManifestAnswer = StoredManifest & { bytes: Uint8Array };

type ManifestRow = { digest: Digest; media_type: string; size: number };
type ReferrerRow = ManifestRow & { artifact_type: string | null; annotations: string | null };

/** What an entry of a list of referrers costs beside its annotations, in bytes. */
const DESCRIPTOR_BYTES = 400;

export class Manifests {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  byTag(tag: string, withBytes: boolean): ManifestAnswer | null {
    const [row] = this.#all<ManifestRow>(
      'SELECT m.digest, m.media_type, m.size FROM tags t JOIN manifests m ON m.digest = t.digest WHERE t.name = ?',
      tag,
    );
    return row === undefined ? null : this.#answer(row, withBytes);
  }

  byDigest(digest: Digest, withBytes: boolean): ManifestAnswer | null {
    const [row] = this.#all<ManifestRow>(
      'SELECT digest, media_type, size FROM manifests WHERE digest = ?',
      digest,
    );
    return row === undefined ? null : this.#answer(row, withBytes);
  }

  /** The references of a manifest that are not here. */
  missing({ manifest }: ManifestPut): Digest[] {
    const absent = (digests: Digest[], orManifest: boolean) =>
      this.#all<{ digest: Digest }>(
        `SELECT value AS digest FROM json_each(?1)
         WHERE NOT EXISTS (SELECT 1 FROM blobs b WHERE b.digest = value)
           AND NOT (?2 AND EXISTS (SELECT 1 FROM manifests m WHERE m.digest = value))`,
        JSON.stringify(digests),
        orManifest ? 1 : 0,
      );
    const missing = [...absent(manifest.blobs, false), ...absent(manifest.manifests, true)];
    return missing.map((row) => row.digest);
  }

  /** Writes a manifest with its references and its place among the referrers; one that is here already stays as it is. */
  write({ digest, bytes, manifest }: ManifestPut): void {
    const { mediaType, subject, artifactType, annotations } = manifest;
    const known = this.#all('SELECT 1 FROM manifests WHERE digest = ? AND media_type = ?', digest, mediaType);
    if (known.length > 0) return;
    this.#sql.exec(
      'INSERT OR REPLACE INTO manifests VALUES (?, ?, ?, ?, ?, ?, ?)',
      digest,
      mediaType,
      bytes.length,
      subject,
      artifactType,
      subject === null || annotations === null ? null : JSON.stringify(annotations),
      Date.now(),
    );
    for (let seq = 0; seq * ROW_BYTES < bytes.length; seq++) {
      const piece = bytes.slice(seq * ROW_BYTES, (seq + 1) * ROW_BYTES);
      this.#sql.exec('INSERT OR REPLACE INTO manifest_bytes VALUES (?, ?, ?)', digest, seq, piece.buffer);
    }
    const references = JSON.stringify([...new Set([...manifest.blobs, ...manifest.manifests])]);
    this.#sql.exec(
      'INSERT OR IGNORE INTO manifest_references SELECT ?, value FROM json_each(?)',
      digest,
      references,
    );
    this.#sql.exec(
      'UPDATE blobs SET expires_at = NULL WHERE digest IN (SELECT value FROM json_each(?))',
      references,
    );
  }

  /** Deletes a manifest and its tags; the blobs that only it referenced expire at `blobsExpireAt`. False if it is not here. */
  delete(digest: Digest, blobsExpireAt: number): boolean {
    const gone = this.#all('DELETE FROM manifests WHERE digest = ? RETURNING digest', digest);
    if (gone.length === 0) return false;
    for (const { name } of this.#all<{ name: string }>('SELECT name FROM tags WHERE digest = ?', digest)) {
      this.deleteTag(name);
    }
    this.#sql.exec('DELETE FROM manifest_bytes WHERE digest = ?', digest);
    this.#sql.exec(
      `UPDATE blobs SET expires_at = ?1
       WHERE digest IN (SELECT digest FROM manifest_references WHERE manifest = ?2)
         AND NOT EXISTS (SELECT 1 FROM manifest_references r WHERE r.digest = blobs.digest AND r.manifest <> ?2)`,
      blobsExpireAt,
      digest,
    );
    this.#sql.exec('DELETE FROM manifest_references WHERE manifest = ?', digest);
    return true;
  }

  setTag(tag: string, digest: Digest): void {
    const now = Date.now();
    const moved = this.#all(
      `INSERT INTO tags VALUES (?1, ?2, ?3)
       ON CONFLICT (name) DO UPDATE SET digest = ?2, updated_at = ?3 WHERE digest <> ?2 RETURNING name`,
      tag,
      digest,
      now,
    );
    if (moved.length === 0) return;
    this.#sql.exec('INSERT INTO tag_history (tag, digest, at) VALUES (?, ?, ?)', tag, digest, now);
  }

  deleteTag(tag: string): boolean {
    const gone = this.#all('DELETE FROM tags WHERE name = ? RETURNING name', tag);
    if (gone.length === 0) return false;
    this.#sql.exec('INSERT INTO tag_history (tag, digest, at) VALUES (?, NULL, ?)', tag, Date.now());
    return true;
  }

  /** Up to `count` tags after `last`, in lexical order, by index. */
  tags(count: number, last: string | null): Listing<string> {
    const names = this.#all<{ name: string }>(
      'SELECT name FROM tags WHERE name > ? ORDER BY name LIMIT ?',
      last ?? '',
      count + 1,
    );
    return { entries: names.slice(0, count).map((row) => row.name), more: names.length > count };
  }

  /** The manifests about a subject, by digest, as many as fit a page. */
  referrers(subject: Digest, artifactType: string | null, last: string | null): Listing<Descriptor> {
    const rows = this.#sql.exec<ReferrerRow>(
      `SELECT digest, media_type, size, artifact_type, annotations FROM manifests
       WHERE subject = ?1 AND digest > ?2 AND (?3 IS NULL OR artifact_type = ?3) ORDER BY digest`,
      subject,
      last ?? '',
      artifactType,
    );
    const entries: Descriptor[] = [];
    let bytes = 0;
    for (const row of rows) {
      bytes += DESCRIPTOR_BYTES + (row.annotations?.length ?? 0);
      if (bytes > REFERRERS_PAGE_BYTES && entries.length > 0) return { entries, more: true };
      entries.push(descriptorOf(row));
    }
    return { entries, more: false };
  }

  #answer({ digest, media_type: mediaType, size }: ManifestRow, withBytes: boolean): ManifestAnswer {
    if (!withBytes) return { digest, mediaType, size, bytes: new Uint8Array() };
    const pieces = this.#all<{ bytes: ArrayBuffer }>(
      'SELECT bytes FROM manifest_bytes WHERE digest = ? ORDER BY seq',
      digest,
    );
    const [only] = pieces;
    if (pieces.length === 1 && only !== undefined) {
      return { digest, mediaType, size, bytes: new Uint8Array(only.bytes) };
    }
    const bytes = new Uint8Array(size);
    for (const [seq, piece] of pieces.entries()) bytes.set(new Uint8Array(piece.bytes), seq * ROW_BYTES);
    return { digest, mediaType, size, bytes };
  }

  #all<Row extends object>(query: string, ...values: SqlStorageValue[]): Row[] {
    return allRows<Row>(this.#sql, query, ...values);
  }
}

function descriptorOf(row: ReferrerRow): Descriptor {
  return {
    mediaType: row.media_type,
    digest: row.digest,
    size: row.size,
    ...(row.artifact_type === null ? {} : { artifactType: row.artifact_type }),
    ...(row.annotations === null ? {} : { annotations: JSON.parse(row.annotations) }),
  };
}
