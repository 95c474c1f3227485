/**
 * The manifests of a repository: their bytes, tags, history, references and referrers. Every method is one step of a
 * transaction that `Repository` opens.
 */
import type { ManifestAnswer } from '../../worker/objects/repository.ts';
import type { Descriptor } from '../../worker/oci/descriptor.ts';
import type { Digest } from '../../worker/oci/digest.ts';
import { namesOf } from '../../worker/oci/manifest.ts';
import type { Listing } from '../../worker/oci/page.ts';
import type { ManifestPut } from '../../worker/oci/registry.ts';
import { allRows, EXPIRED_ROWS_AT_A_TIME } from '../rows.ts';

/** A manifest is kept in pieces of this size, because a row may have 2 MB (Cloudflare docs, "Durable Objects limits"). */
const ROW_BYTES = 1024 * 1024;
/** Descriptors in one page of referrers. Clients read up to 4 MiB of a page. */
export const REFERRERS_PAGE_BYTES = 3 * 1024 * 1024;

type ManifestRow = { digest: Digest; media_type: string; size: number };
type ReferrerRow = ManifestRow & { artifact_type: string | null; annotations: string | null };
type TagRow = { digest: Digest; generation: number };

/** Generations of manifests are random numbers below this. */
const GENERATIONS = 2 ** 48;

const utf8 = new TextEncoder();

export class Manifests {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  byTag(tag: string, withBytes: boolean): ManifestAnswer | null {
    const [row] = this.#all<ManifestRow>(
      `SELECT m.digest, m.media_type, m.size FROM tags t
         JOIN manifests m ON m.digest = t.digest AND m.generation = t.generation WHERE t.name = ?`,
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

  /** The references of a manifest that the repository does not have. */
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

  /**
   * Writes a manifest with its references and its place among the referrers, unless it exists already. If it is pushed again with
   * another media type, it keeps its tags.
   */
  write({ digest, bytes, manifest }: ManifestPut): void {
    const { mediaType, subject, artifactType, annotations } = manifest;
    const known = this.#all('SELECT 1 FROM manifests WHERE digest = ? AND media_type = ?', digest, mediaType);
    if (known.length > 0) return;
    this.#sql.exec(
      `INSERT INTO manifests (digest, media_type, size, subject, artifact_type, annotations, pushed_at, generation)
       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
       ON CONFLICT (digest) DO UPDATE SET media_type = ?2, artifact_type = ?5`,
      digest,
      mediaType,
      bytes.length,
      subject,
      artifactType,
      subject === null || annotations === null ? null : JSON.stringify(annotations),
      Date.now(),
      Math.floor(Math.random() * GENERATIONS),
    );
    for (let seq = 0; seq * ROW_BYTES < bytes.length; seq++) {
      const piece = bytes.slice(seq * ROW_BYTES, (seq + 1) * ROW_BYTES);
      this.#sql.exec(
        'INSERT OR REPLACE INTO manifest_bytes (digest, seq, bytes) VALUES (?, ?, ?)',
        digest,
        seq,
        piece.buffer,
      );
    }
    const names = JSON.stringify(namesOf(manifest));
    this.#sql.exec(
      'INSERT OR IGNORE INTO named_by (digest, manifest) SELECT value, ? FROM json_each(?)',
      digest,
      names,
    );
    this.#sql.exec('INSERT OR REPLACE INTO manifest_names (manifest, digests) VALUES (?, ?)', digest, names);
  }

  /**
   * Deletes a manifest and its tags, and returns its references; null if it does not exist. If there are many tags, `removeTags`
   * removes the rest of their rows later. Reads skip tags without a manifest.
   */
  delete(digest: Digest, now: number): Digest[] | null {
    const [deleted] = this.#all<{ generation: number }>(
      'DELETE FROM manifests WHERE digest = ? RETURNING generation',
      digest,
    );
    if (deleted === undefined) return null;
    if (!this.#removeSomeTags(digest, deleted.generation, now)) {
      this.#sql.exec(
        'INSERT INTO deleted_manifests (digest, generation, at) VALUES (?, ?, ?)',
        digest,
        deleted.generation,
        now,
      );
    }
    this.#sql.exec('DELETE FROM manifest_bytes WHERE digest = ?', digest);
    const [names] = this.#all<{ digests: string }>(
      'DELETE FROM manifest_names WHERE manifest = ? RETURNING digests',
      digest,
    );
    this.#sql.exec(
      'DELETE FROM named_by WHERE manifest = ? AND digest IN (SELECT value FROM json_each(?))',
      digest,
      names?.digests ?? '[]',
    );
    return JSON.parse(names?.digests ?? '[]');
  }

  /** Removes tags of one deleted manifest, up to EXPIRED_ROWS_AT_A_TIME. */
  removeTags(): void {
    const [deleted] = this.#all<TagRow & { at: number }>(
      'SELECT digest, generation, at FROM deleted_manifests LIMIT 1',
    );
    if (deleted === undefined) return;
    const { digest, generation, at } = deleted;
    if (!this.#removeSomeTags(digest, generation, at)) return;
    this.#sql.exec('DELETE FROM deleted_manifests WHERE digest = ? AND generation = ?', digest, generation);
  }

  /** Whether deleted manifests still have rows of tags. */
  hasTagsToRemove(): boolean {
    return this.#all('SELECT 1 FROM deleted_manifests LIMIT 1').length > 0;
  }

  /** Points a tag to a manifest of the repository. */
  setTag(tag: string, digest: Digest, now: number): void {
    const [before] = this.#all<TagRow>('SELECT digest, generation FROM tags WHERE name = ?', tag);
    const [manifest] = this.#all<TagRow>('SELECT digest, generation FROM manifests WHERE digest = ?', digest);
    if (manifest === undefined || (before?.digest === digest && before.generation === manifest.generation))
      return;
    this.#sql.exec(
      `INSERT INTO tags (name, digest, updated_at, generation) VALUES (?1, ?2, ?3, ?4)
       ON CONFLICT (name) DO UPDATE SET digest = ?2, updated_at = ?3, generation = ?4`,
      tag,
      digest,
      now,
      manifest.generation,
    );
    this.#recordMove(tag, digest, now);
  }

  /** The tags of a push that exist and have another digest. */
  moving({ digest, tags }: ManifestPut): string[] {
    return tags.filter((tag) => {
      const before = this.byTag(tag, false);
      return before !== null && before.digest !== digest;
    });
  }

  /** All tags of a manifest, one after another: there may be very many. */
  *allTagsOf(digest: Digest): Iterable<string> {
    const rows = this.#sql.exec<{ name: string }>(
      `SELECT t.name FROM manifests m JOIN tags t ON t.digest = m.digest AND t.generation = m.generation
       WHERE m.digest = ?`,
      digest,
    );
    for (const { name } of rows) yield name;
  }

  deleteTag(tag: string, now: number): boolean {
    const isThere = this.byTag(tag, false) !== null;
    if (isThere) this.#removeTag(tag, now);
    return isThere;
  }

  /** Up to `count` tags of a manifest, in lexical order, by index. */
  tagsOf(digest: Digest, count: number): string[] {
    const rows = this.#all<{ name: string }>(
      `SELECT t.name FROM manifests m JOIN tags t ON t.digest = m.digest AND t.generation = m.generation
       WHERE m.digest = ? ORDER BY t.name LIMIT ?`,
      digest,
      count,
    );
    return rows.map(({ name }) => name);
  }

  /**
   * Up to `count` tags after `last`, in lexical order, by index. Where a manifest with many tags was just deleted, a page may
   * have fewer than there are, or none, and say where to go on.
   */
  tags(count: number, last: string | null): Listing<string> {
    const rows = this.#all<{ name: string; deleted: number }>(
      `SELECT t.name, EXISTS (SELECT 1 FROM deleted_manifests d WHERE d.generation = t.generation AND d.digest = t.digest)
         AS deleted FROM tags t WHERE t.name > ? ORDER BY t.name LIMIT ?`,
      last ?? '',
      count + 1,
    );
    const more = rows.length > count;
    const page = rows.slice(0, count);
    const entries = page.filter((row) => row.deleted === 0).map((row) => row.name);
    return { entries, more, last: page.at(-1)?.name ?? null };
  }

  /** The manifests that refer to a subject, by digest, as many as fit a page. */
  referrers(subject: Digest, artifactType: string | null, last: string | null): Listing<Descriptor> {
    const columns = 'digest, media_type, size, artifact_type, annotations';
    const ofType = artifactType === null ? '' : 'AND artifact_type = ?3';
    const rows = this.#sql.exec<ReferrerRow>(
      `SELECT ${columns} FROM manifests WHERE subject = ?1 AND digest > ?2 ${ofType} ORDER BY digest`,
      subject,
      last ?? '',
      ...(artifactType === null ? [] : [artifactType]),
    );
    const entries: Descriptor[] = [];
    let bytes = 0;
    for (const row of rows) {
      const entry = descriptorOf(row);
      bytes += utf8.encode(JSON.stringify(entry)).length + 1;
      if (bytes > REFERRERS_PAGE_BYTES && entries.length > 0) return { entries, more: true };
      entries.push(entry);
    }
    return { entries, more: false };
  }

  /** True if no tags of this manifest are left. */
  #removeSomeTags(digest: Digest, generation: number, at: number): boolean {
    const some = 'FROM tags t WHERE t.digest = ?1 AND t.generation = ?2 ORDER BY t.name LIMIT ?3';
    this.#sql.exec(
      `INSERT INTO tag_history (tag, seq, digest, at)
         SELECT t.name, (SELECT COALESCE(MAX(seq), 0) + 1 FROM tag_history WHERE tag = t.name), NULL, ?4 ${some}`,
      digest,
      generation,
      EXPIRED_ROWS_AT_A_TIME,
      at,
    );
    const removed = this.#all(
      `DELETE FROM tags WHERE name IN (SELECT t.name ${some}) RETURNING 1`,
      digest,
      generation,
      EXPIRED_ROWS_AT_A_TIME,
    );
    return removed.length < EXPIRED_ROWS_AT_A_TIME;
  }

  #removeTag(tag: string, at: number): void {
    this.#sql.exec('DELETE FROM tags WHERE name = ?', tag);
    this.#recordMove(tag, null, at);
  }

  #recordMove(tag: string, digest: Digest | null, at: number): void {
    this.#sql.exec(
      `INSERT INTO tag_history (tag, seq, digest, at)
         SELECT ?1, COALESCE(MAX(seq), 0) + 1, ?2, ?3 FROM tag_history WHERE tag = ?1`,
      tag,
      digest,
      at,
    );
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
