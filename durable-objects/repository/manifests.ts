/**
 * The manifests of a repository: their bytes, tags, references and referrers. Every method is one step of a transaction that
 * `Repository` opens. Manifests that were deleted are in the trash, or on their way there.
 */
import type { ManifestAnswer } from '../../worker/objects/repository.ts';
import type { Descriptor } from '../../worker/oci/descriptor.ts';
import type { Digest } from '../../worker/oci/digest.ts';
import { namesOf } from '../../worker/oci/manifest.ts';
import type { Listing } from '../../worker/oci/page.ts';
import type { ManifestPut } from '../../worker/oci/registry.ts';
import { allRows, firstRow } from '../rows.ts';
import type { History, Move } from './history.ts';
import type { ManifestRow, Trash, TrashedRow } from './trash.ts';
import type { Usage } from './usage.ts';

/** A manifest is kept in pieces of this size, because a row may have 2 MB (Cloudflare docs, "Durable Objects limits"). */
const ROW_BYTES = 1024 * 1024;
/** Descriptors in one page of referrers. Clients read up to 4 MiB of a page. */
export const REFERRERS_PAGE_BYTES = 3 * 1024 * 1024;

type FoundRow = Pick<ManifestRow, 'digest' | 'media_type' | 'size'>;
type ReferrerRow = FoundRow & Pick<ManifestRow, 'artifact_type' | 'annotations'>;
type TagRow = { digest: Digest; generation: number };

const COLUMNS = 'digest, media_type, size, subject, artifact_type, annotations, pushed_at';
/** Generations of manifests are microseconds, so that later ones are higher. The microsecond is random. */
const GENERATIONS_A_MS = 1000;

const utf8 = new TextEncoder();

export class Manifests {
  readonly #sql: SqlStorage;
  readonly #history: History;
  readonly #trash: Trash;
  readonly #usage: Usage;
  #lastGeneration = 0;

  constructor(sql: SqlStorage, history: History, trash: Trash, usage: Usage) {
    this.#sql = sql;
    this.#history = history;
    this.#trash = trash;
    this.#usage = usage;
  }

  byTag(tag: string, withBytes: boolean): ManifestAnswer | null {
    const [row] = this.#all<FoundRow>(
      `SELECT m.digest, m.media_type, m.size FROM tags t
         JOIN manifests m ON m.digest = t.digest AND m.generation = t.generation
       WHERE t.name = ? AND ${this.#trash.live('m')}`,
      tag,
    );
    return row === undefined ? null : this.#answer(row, withBytes);
  }

  byDigest(digest: Digest, withBytes: boolean): ManifestAnswer | null {
    const [row] = this.#all<FoundRow>(
      `SELECT m.digest, m.media_type, m.size FROM manifests m WHERE m.digest = ? AND ${this.#trash.live('m')}`,
      digest,
    );
    return row === undefined ? null : this.#answer(row, withBytes);
  }

  /** A manifest in the trash that clients may read for a while. */
  lent(digest: Digest, withBytes: boolean, now: number): ManifestAnswer | null {
    const row = this.#trash.get(digest);
    if (row === null || (row.readable_until ?? 0) <= now) return null;
    return { ...this.#answer(row, withBytes), isPast: true };
  }

  /** What a tag led to at a time (Unix time, ms); null for nothing. */
  tagAt(tag: string, at: number): Digest | null {
    const found = this.#history.at(tag, at);
    if (found === null || !found.holds) return found?.digest ?? null;
    // The tag may be on its way to be deleted with its manifest.
    const leaving = this.leavingTag(tag);
    return leaving === null || at < leaving.at ? found.digest : null;
  }

  /** The references of a manifest that the repository does not have. */
  missing({ manifest }: ManifestPut): Digest[] {
    const absent = (digests: Digest[], orManifest: boolean) =>
      this.#all<{ digest: Digest }>(
        `SELECT value AS digest FROM json_each(?1)
         WHERE NOT EXISTS (SELECT 1 FROM blobs b WHERE b.digest = value AND b.deleted_at IS NULL)
           AND NOT (?2 AND EXISTS (SELECT 1 FROM manifests m WHERE m.digest = value AND ${this.#trash.live('m')}))`,
        JSON.stringify(digests),
        orManifest ? 1 : 0,
      );
    const missing = [...absent(manifest.blobs, false), ...absent(manifest.manifests, true)];
    return missing.map((row) => row.digest);
  }

  /**
   * Writes a manifest with its references and its place among the referrers, unless it exists already. If it is pushed again with
   * another media type, it keeps its tags. A manifest of the trash is taken from there.
   */
  write(put: ManifestPut): void {
    const { digest, manifest } = put;
    const known = this.#all(
      'SELECT 1 FROM manifests WHERE digest = ? AND media_type = ?',
      digest,
      manifest.mediaType,
    );
    if (known.length === 0) this.#usage.ofManifests([digest], namesOf(manifest), () => this.#insert(put));
  }

  #insert({ digest, bytes, manifest }: ManifestPut): void {
    const { mediaType, subject, artifactType, annotations } = manifest;
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
      this.nextGeneration(),
    );
    this.#trash.remove(digest);
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

  /** The digest of a manifest that references the digest and is not deleted; null if none does. */
  referencing(digest: Digest): Digest | null {
    const query = `SELECT n.manifest FROM named_by n JOIN manifests m ON m.digest = n.manifest
      WHERE n.digest = ? AND ${this.#trash.live('m')} LIMIT 1`;
    return firstRow<{ manifest: Digest }>(this.#sql, query, digest)?.manifest ?? null;
  }

  /** The row of a manifest that is deleted and whose row is still to be moved, with the time of its deletion. */
  leaving(digest: Digest): { deletion: string | null; at: number } | null {
    if (!this.#trash.hasDepartures()) return null;
    const [row] = this.#all<{ subject: Digest | null; generation: number; isFree: number }>(
      `SELECT m.subject, m.generation, ${this.#trash.isFree('m')} AS isFree FROM manifests m WHERE m.digest = ? AND NOT ${this.#trash.live('m')}`,
      digest,
    );
    if (row === undefined) return null;
    return this.#trash.departureOf(row.isFree === 1 ? row.subject : null, row.generation);
  }

  /** As `leaving`, for a tag that is deleted with its manifest. */
  leavingTag(tag: string): { deletion: string | null; at: number } | null {
    const [row] = this.#all<{ generation: number; deletion: string | null; at: number | null }>(
      `SELECT t.generation, d.deletion, d.at FROM tags t
         LEFT JOIN deleted_manifests d ON d.digest = t.digest AND d.generation = t.generation WHERE t.name = ?`,
      tag,
    );
    if (row === undefined) return null;
    const { deletion, at, generation } = row;
    return at === null ? this.#trash.departureOf('', generation) : { deletion, at };
  }

  /** Removes the row of a manifest, and returns it. Null if it does not exist. */
  takeOut(digest: Digest): (ManifestRow & { generation: number }) | null {
    return firstRow(
      this.#sql,
      `DELETE FROM manifests WHERE digest = ? RETURNING ${COLUMNS}, generation`,
      digest,
    );
  }

  /**
   * Puts the row of a manifest back. Its bytes and references are there. If it has tags that were still to be removed, it keeps them,
   * unless its generation is on its way to the trash: then they are removed first, and restored after that.
   */
  putBack(row: TrashedRow): void {
    const kept = firstRow<{ generation: number }>(
      this.#sql,
      `DELETE FROM deleted_manifests WHERE digest = ?1 AND generation =
         (SELECT MAX(generation) FROM deleted_manifests WHERE digest = ?1 AND deletion = ?2 AND generation >= ?3)
       RETURNING generation`,
      row.digest,
      row.deletion,
      this.#trash.generationsBefore(),
    );
    const generation = kept?.generation ?? this.nextGeneration();
    this.#sql.exec(
      `INSERT INTO manifests (${COLUMNS}, generation) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
      row.digest,
      row.media_type,
      row.size,
      row.subject,
      row.artifact_type,
      row.annotations,
      row.pushed_at,
      generation,
    );
  }

  /** Removes the bytes and the references of a manifest whose row is removed. Returns the references. */
  forget(digest: Digest): Digest[] {
    this.#sql.exec('DELETE FROM manifest_bytes WHERE digest = ?', digest);
    const names = this.namesOf(digest);
    this.#sql.exec('DELETE FROM manifest_names WHERE manifest = ?', digest);
    this.#sql.exec(
      'DELETE FROM named_by WHERE manifest = ? AND digest IN (SELECT value FROM json_each(?))',
      digest,
      JSON.stringify(names),
    );
    return names;
  }

  /** What a manifest names, also one in the trash. */
  namesOf(digest: Digest): Digest[] {
    const [names] = this.#all<{ digests: string }>(
      'SELECT digests FROM manifest_names WHERE manifest = ?',
      digest,
    );
    return JSON.parse(names?.digests ?? '[]');
  }

  /** Higher than all before, and than those of manifests that are on their way to the trash. */
  nextGeneration(): number {
    const random = Math.floor(Math.random() * GENERATIONS_A_MS);
    const now = Date.now() * GENERATIONS_A_MS + random;
    this.#lastGeneration = Math.max(now, this.#lastGeneration + 1, this.#trash.generationsBefore());
    return this.#lastGeneration;
  }

  /** A number above the generations of all manifests, or of the referrers of one. The next ones are not below it. */
  generationAbove(subject: Digest | null): number {
    const of = subject === null ? '' : 'WHERE subject = ?';
    const query = `SELECT MAX(generation) AS latest FROM manifests ${of}`;
    const latest = firstRow<{ latest: number | null }>(
      this.#sql,
      query,
      ...(subject === null ? [] : [subject]),
    );
    this.#lastGeneration = Math.max(
      this.nextGeneration(),
      (latest?.latest ?? 0) + 1,
      this.#trash.generationsBefore() + 1,
    );
    return this.#lastGeneration;
  }

  /** Points a tag to a manifest of the repository. Returns whether it led to another before. */
  setTag(tag: string, digest: Digest, move: Move): boolean {
    const [before] = this.#all<TagRow>('SELECT digest, generation FROM tags WHERE name = ?', tag);
    const [manifest] = this.#all<TagRow>('SELECT digest, generation FROM manifests WHERE digest = ?', digest);
    if (manifest === undefined || (before?.digest === digest && before.generation === manifest.generation))
      return false;
    this.#usage.ofTag(tag, () =>
      this.#sql.exec(
        `INSERT INTO tags (name, digest, updated_at, generation) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (name) DO UPDATE SET digest = ?2, updated_at = ?3, generation = ?4`,
        tag,
        digest,
        move.at,
        manifest.generation,
      ),
    );
    if (before !== undefined) this.untagged();
    this.#history.record(tag, digest, move);
    return before !== undefined;
  }

  /** The tags of a push that exist and have another digest. */
  moving({ digest, tags }: { digest: Digest; tags: string[] }): string[] {
    return tags.filter((tag) => {
      const before = this.byTag(tag, false);
      return before !== null && before.digest !== digest;
    });
  }

  /** All tags, one after another: there may be very many. */
  *allTags(): Iterable<string> {
    const rows = this.#sql.exec<{ name: string }>(
      `SELECT t.name FROM tags t JOIN manifests m ON m.digest = t.digest AND m.generation = t.generation
       WHERE ${this.#trash.live('m')}`,
    );
    for (const { name } of rows) yield name;
  }

  /** All tags of a manifest, one after another: there may be very many. */
  *allTagsOf(digest: Digest): Iterable<string> {
    const rows = this.#sql.exec<{ name: string }>(
      `SELECT t.name FROM manifests m JOIN tags t ON t.digest = m.digest AND t.generation = m.generation
       WHERE m.digest = ? AND ${this.#trash.live('m')}`,
      digest,
    );
    for (const { name } of rows) yield name;
  }

  /** A manifest has lost a tag. If it refers to one whose referrers are on their way to the trash, it follows them. */
  untagged(): void {
    if (this.#trash.hasLeavingReferrers()) this.#usage.recount();
  }

  /** Removes a tag, which is there. */
  removeTag(tag: string, move: Move): void {
    this.#usage.ofTag(tag, () => this.#sql.exec('DELETE FROM tags WHERE name = ?', tag));
    this.#history.record(tag, null, move);
  }

  /** Removes up to `count` tags of a manifest of this generation, and returns how many. */
  removeTagsOf(digest: Digest, generation: number, move: Move, count: number): number {
    const rows = this.#all<{ name: string }>(
      'SELECT name FROM tags WHERE digest = ? AND generation = ? ORDER BY name LIMIT ?',
      digest,
      generation,
      count,
    );
    const names = rows.map(({ name }) => name);
    if (names.length === 0) return 0;
    this.#history.recordDeleted(names, move);
    this.#sql.exec('DELETE FROM tags WHERE name IN (SELECT value FROM json_each(?))', JSON.stringify(names));
    return names.length;
  }

  /** Up to `count` tags of a manifest, in lexical order, by index. */
  tagsOf(digest: Digest, count: number): string[] {
    const rows = this.#all<{ name: string }>(
      `SELECT t.name FROM manifests m JOIN tags t ON t.digest = m.digest AND t.generation = m.generation
       WHERE m.digest = ? AND ${this.#trash.live('m')} ORDER BY t.name LIMIT ?`,
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
         OR ${this.#trash.isClearedTag('t')} AS deleted FROM tags t WHERE t.name > ? ORDER BY t.name LIMIT ?`,
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
    const columns = 'm.digest, m.media_type, m.size, m.artifact_type, m.annotations';
    const ofType = artifactType === null ? '' : 'AND m.artifact_type = ?3';
    const rows = this.#sql.exec<ReferrerRow>(
      `SELECT ${columns} FROM manifests m
       WHERE m.subject = ?1 AND m.digest > ?2 ${ofType} AND ${this.#trash.live('m')} ORDER BY m.digest`,
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

  #answer({ digest, media_type: mediaType, size }: FoundRow, withBytes: boolean): ManifestAnswer {
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
