/**
 * Repository: one for each repository name. It holds what changes in it: tags and their history, manifests, the blobs that
 * are linked here, and who references what. Whatever belongs together changes in one transaction.
 */
import { DurableObject } from 'cloudflare:workers';
import type { Env } from '../worker/env.ts';
import type { Descriptor } from '../worker/oci/descriptor.ts';
import type { Digest } from '../worker/oci/digest.ts';
import {
  REFERRERS_PAGE_BYTES,
  RETRY_MS,
  ROW_BYTES,
  UNREFERENCED_GRACE_MS,
  UPLOAD_LIFETIME_MS,
  VOID_LINK_MS,
} from '../worker/oci/limits.ts';
import type { StoredManifest } from '../worker/oci/manifest.ts';
import type { Listing } from '../worker/oci/page.ts';
import type { ManifestPut } from '../worker/oci/registry.ts';
import { changed } from '../worker/storage/memory.ts';
import { catalogOf, shardOf } from './address.ts';
import { ringBy, ringNext } from './alarm.ts';
import { REPOSITORY_SCHEMA } from './repository-schema.ts';

export interface LinkedBlob {
  digest: Digest;
  key: string;
  /** In bytes. */
  size: number;
  link: string;
}

/** A manifest as it crosses to the Worker. */
export type ManifestAnswer = StoredManifest & { bytes: Uint8Array };

/** Why there is nothing: the repository, or what was asked of it, is unknown. */
export type Unknown = 'repository' | 'content';

type ManifestRow = { digest: Digest; media_type: string; size: number };

export class Repository extends DurableObject<Env> {
  #made: boolean | null = null;

  // Blobs

  blob(digest: Digest): LinkedBlob | null {
    if (!this.#exists()) return null;
    return this.#first<LinkedBlob>('SELECT digest, key, size, link FROM blobs WHERE digest = ?', digest);
  }

  /**
   * Links a blob whose link the shard has. False where that link, or the upload, has been refused meanwhile. A blob that
   * is linked already keeps the link it has.
   */
  async linkBlob(name: string, blob: LinkedBlob, upload: string | null): Promise<boolean> {
    this.#create(name);
    const expiresAt = Date.now() + UNREFERENCED_GRACE_MS;
    const linked = this.ctx.storage.transactionSync(() => {
      if (this.#refused(blob.link) || (upload !== null && this.#refused(upload))) return false;
      const [before] = this.#all<{ link: string }>('SELECT link FROM blobs WHERE digest = ?', blob.digest);
      if (before === undefined) {
        const { digest, key, size, link } = blob;
        const referenced =
          this.#all('SELECT 1 FROM manifest_references WHERE digest = ? LIMIT 1', digest).length > 0;
        const expires = referenced ? null : expiresAt; // A sparse manifest may have been here first.
        this.#sql.exec('INSERT INTO blobs VALUES (?, ?, ?, ?, ?)', digest, key, size, link, expires);
        this.#setPresent(true);
      } else {
        this.#sql.exec(
          'UPDATE blobs SET expires_at = ? WHERE digest = ? AND expires_at IS NOT NULL',
          expiresAt,
          blob.digest,
        );
        if (before.link !== blob.link) this.#release(blob.link, blob.digest);
      }
      return true;
    });
    if (linked) await ringBy(this.ctx.storage, expiresAt);
    await this.#tellOthers();
    return linked;
  }

  /** `referenced`: a manifest needs it, and it stays. */
  async deleteBlob(digest: Digest): Promise<'deleted' | 'unknown' | { referencedBy: string }> {
    if (!this.#exists()) return 'unknown';
    const result = this.ctx.storage.transactionSync(() => {
      const [row] = this.#all<{ link: string }>('SELECT link FROM blobs WHERE digest = ?', digest);
      if (row === undefined) return 'unknown';
      const [by] = this.#all<{ manifest: string }>(
        'SELECT manifest FROM manifest_references WHERE digest = ? LIMIT 1',
        digest,
      );
      if (by !== undefined) return { referencedBy: by.manifest };
      this.#unlinkBlob(digest, row.link);
      this.#setPresent(this.#holdsSomething());
      return 'deleted';
    });
    await this.#tellOthers();
    return result;
  }

  holdsLink(link: string): boolean {
    return this.#exists() && this.#all('SELECT 1 FROM blobs WHERE link = ?', link).length > 0;
  }

  /** Gives those of the links that are held here, and refuses the others from now on. */
  async settleLinks(links: string[]): Promise<string[]> {
    const held = links.filter((link) => this.holdsLink(link));
    const others = links.filter((link) => !held.includes(link));
    if (others.length > 0) await this.#refuse(others, VOID_LINK_MS);
    return held;
  }

  /** Refuses to link what a cancelled upload may still bring. */
  async refuseUpload(upload: string): Promise<void> {
    await this.#refuse([upload], 2 * UPLOAD_LIFETIME_MS);
  }

  // Manifests

  manifestByTag(tag: string, withBytes: boolean): ManifestAnswer | Unknown {
    if (!this.#exists()) return 'repository';
    const [row] = this.#all<ManifestRow>(
      `SELECT m.digest, m.media_type, m.size FROM tags t JOIN manifests m ON m.digest = t.digest WHERE t.name = ?`,
      tag,
    );
    return this.#manifest(row, withBytes);
  }

  manifestByDigest(digest: Digest, withBytes: boolean): ManifestAnswer | Unknown {
    if (!this.#exists()) return 'repository';
    const [row] = this.#all<ManifestRow>(
      'SELECT digest, media_type, size FROM manifests WHERE digest = ?',
      digest,
    );
    return this.#manifest(row, withBytes);
  }

  /**
   * Writes a manifest with its references, its place among the referrers, its tags and their history: all or nothing. Gives
   * the references that are not here where these must be (`sparse` false).
   */
  async putManifest(name: string, put: ManifestPut, sparse: boolean): Promise<{ missing: Digest[] }> {
    const missing = this.#exists() ? this.#missing(put) : [...put.manifest.blobs, ...put.manifest.manifests];
    if (missing.length > 0 && !sparse) return { missing };
    this.#create(name);
    this.ctx.storage.transactionSync(() => {
      this.#writeManifest(put);
      for (const tag of put.tags) this.#setTag(tag, put.digest);
      this.#setPresent(true);
    });
    await this.#tellOthers();
    return { missing: [] };
  }

  /** Deletes a manifest and its tags. Blobs that nothing references now begin to expire. */
  async deleteManifest(digest: Digest): Promise<'deleted' | Unknown> {
    if (!this.#exists()) return 'repository';
    const expiresAt = Date.now() + UNREFERENCED_GRACE_MS;
    const deleted = this.ctx.storage.transactionSync(() => {
      const gone = this.#all('DELETE FROM manifests WHERE digest = ? RETURNING digest', digest);
      if (gone.length === 0) return false;
      for (const { name } of this.#all<{ name: string }>('SELECT name FROM tags WHERE digest = ?', digest)) {
        this.#deleteTag(name);
      }
      this.#sql.exec('DELETE FROM manifest_bytes WHERE digest = ?', digest);
      this.#sql.exec(
        `UPDATE blobs SET expires_at = ?1
         WHERE digest IN (SELECT digest FROM manifest_references WHERE manifest = ?2)
           AND NOT EXISTS (SELECT 1 FROM manifest_references r WHERE r.digest = blobs.digest AND r.manifest <> ?2)`,
        expiresAt,
        digest,
      );
      this.#sql.exec('DELETE FROM manifest_references WHERE manifest = ?', digest);
      this.#setPresent(this.#holdsSomething());
      return true;
    });
    if (!deleted) return 'content';
    await ringBy(this.ctx.storage, expiresAt);
    await this.#tellOthers();
    return 'deleted';
  }

  async deleteTag(tag: string): Promise<'deleted' | Unknown> {
    if (!this.#exists()) return 'repository';
    const deleted = this.ctx.storage.transactionSync(() => this.#deleteTag(tag));
    await this.#tellOthers();
    return deleted ? 'deleted' : 'content';
  }

  /** Up to `count` tags after `last`, in lexical order, by index. */
  tags(count: number, last: string | null): Listing<string> | null {
    if (!this.#exists()) return null;
    const names = this.#all<{ name: string }>(
      'SELECT name FROM tags WHERE name > ? ORDER BY name LIMIT ?',
      last ?? '',
      count + 1,
    );
    return { entries: names.slice(0, count).map((row) => row.name), more: names.length > count };
  }

  /** The manifests about a subject, by digest, as many as fit a page. */
  referrers(subject: Digest, artifactType: string | null, last: string | null): Listing<Descriptor> {
    if (!this.#exists()) return { entries: [], more: false };
    const rows = this.#sql.exec<ManifestRow & { artifact_type: string | null; annotations: string | null }>(
      `SELECT digest, media_type, size, artifact_type, annotations FROM manifests
       WHERE subject = ?1 AND digest > ?2 AND (?3 IS NULL OR artifact_type = ?3) ORDER BY digest`,
      subject,
      last ?? '',
      artifactType,
    );
    const entries: Descriptor[] = [];
    let bytes = 0;
    for (const row of rows) {
      bytes += 400 + (row.annotations?.length ?? 0);
      if (bytes > REFERRERS_PAGE_BYTES && entries.length > 0) return { entries, more: true };
      entries.push({
        mediaType: row.media_type,
        digest: row.digest,
        size: row.size,
        ...(row.artifact_type === null ? {} : { artifactType: row.artifact_type }),
        ...(row.annotations === null ? {} : { annotations: JSON.parse(row.annotations) }),
      });
    }
    return { entries, more: false };
  }

  /** Lets go of blobs that were never or are no longer referenced, and repeats what others have not heard. */
  override async alarm(): Promise<void> {
    if (!this.#exists()) return;
    const now = Date.now();
    this.ctx.storage.transactionSync(() => {
      const due = this.#all<{ digest: Digest; link: string }>(
        'SELECT digest, link FROM blobs WHERE expires_at <= ? LIMIT 1000',
        now,
      );
      for (const { digest, link } of due) this.#unlinkBlob(digest, link);
      this.#sql.exec('DELETE FROM refusals WHERE expires_at <= ?', now);
      this.#setPresent(this.#holdsSomething());
    });
    this.#forgetAnswers();
    await this.#told();
    const untold = this.#untold() ? now + RETRY_MS : null;
    await ringNext(this.ctx.storage, [
      untold,
      this.#first<{ at: number | null }>('SELECT MIN(expires_at) AS at FROM blobs')?.at ?? null,
      this.#first<{ at: number | null }>('SELECT MIN(expires_at) AS at FROM refusals')?.at ?? null,
    ]);
  }

  #manifest(row: ManifestRow | undefined, withBytes: boolean): ManifestAnswer | Unknown {
    if (row === undefined) return 'content';
    const { digest, media_type: mediaType, size } = row;
    if (!withBytes) return { digest, mediaType, size, bytes: new Uint8Array() };
    const pieces = this.#all<{ bytes: ArrayBuffer }>(
      'SELECT bytes FROM manifest_bytes WHERE digest = ? ORDER BY seq',
      digest,
    );
    const [only] = pieces;
    if (pieces.length === 1 && only !== undefined)
      return { digest, mediaType, size, bytes: new Uint8Array(only.bytes) };
    const bytes = new Uint8Array(size);
    for (const [seq, piece] of pieces.entries()) bytes.set(new Uint8Array(piece.bytes), seq * ROW_BYTES);
    return { digest, mediaType, size, bytes };
  }

  #missing({ manifest }: ManifestPut): Digest[] {
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

  #writeManifest({ digest, bytes, manifest }: ManifestPut): void {
    const known = this.#all(
      'SELECT 1 FROM manifests WHERE digest = ? AND media_type = ?',
      digest,
      manifest.mediaType,
    );
    if (known.length > 0) return;
    const { mediaType, subject, artifactType, annotations } = manifest;
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

  #setTag(tag: string, digest: Digest): void {
    const now = Date.now();
    const moved = this.#all(
      `INSERT INTO tags VALUES (?1, ?2, ?3)
       ON CONFLICT (name) DO UPDATE SET digest = ?2, updated_at = ?3 WHERE digest <> ?2 RETURNING name`,
      tag,
      digest,
      now,
    );
    if (moved.length > 0)
      this.#sql.exec('INSERT INTO tag_history (tag, digest, at) VALUES (?, ?, ?)', tag, digest, now);
  }

  #deleteTag(tag: string): boolean {
    const gone = this.#all('DELETE FROM tags WHERE name = ? RETURNING name', tag);
    if (gone.length === 0) return false;
    this.#sql.exec('INSERT INTO tag_history (tag, digest, at) VALUES (?, NULL, ?)', tag, Date.now());
    return true;
  }

  #unlinkBlob(digest: Digest, link: string): void {
    this.#sql.exec('DELETE FROM blobs WHERE digest = ?', digest);
    this.#release(link, digest);
  }

  #release(link: string, digest: Digest): void {
    this.#sql.exec('INSERT OR IGNORE INTO released_links VALUES (?, ?)', link, digest);
  }

  #refused(id: string): boolean {
    return this.#all('SELECT 1 FROM refusals WHERE id = ?', id).length > 0;
  }

  async #refuse(ids: string[], forMs: number): Promise<void> {
    this.#sql.exec(REPOSITORY_SCHEMA);
    this.#made = true;
    const expiresAt = Date.now() + forMs;
    for (const id of ids) this.#sql.exec('INSERT OR REPLACE INTO refusals VALUES (?, ?)', id, expiresAt);
    await ringBy(this.ctx.storage, expiresAt);
  }

  #holdsSomething(): boolean {
    return (
      this.#all('SELECT 1 FROM manifests LIMIT 1').length + this.#all('SELECT 1 FROM blobs LIMIT 1').length >
      0
    );
  }

  #setPresent(present: boolean): void {
    this.#sql.exec(
      'UPDATE repository SET present = ?1, version = version + 1 WHERE present <> ?1',
      present ? 1 : 0,
    );
  }

  /** True where there is something for the shards or the catalog to hear. */
  #untold(): boolean {
    return (
      this.#all('SELECT 1 FROM released_links LIMIT 1').length > 0 ||
      this.#all('SELECT 1 FROM repository WHERE announced < version').length > 0
    );
  }

  /** After a change: forgets what the isolate remembers, and tells the others, with the alarm to repeat what fails. */
  async #tellOthers(): Promise<void> {
    this.#forgetAnswers();
    if (!this.#untold()) return;
    await ringBy(this.ctx.storage, Date.now() + RETRY_MS);
    this.ctx.waitUntil(this.#told());
  }

  #forgetAnswers(): void {
    const name = this.#first<{ name: string }>('SELECT name FROM repository')?.name;
    if (name !== undefined) changed(name);
  }

  async #told(): Promise<void> {
    try {
      await Promise.all([this.#tellCatalog(), this.#tellShards()]);
    } catch (fault) {
      console.error('a message of a repository was not heard, and will be repeated', fault);
    }
  }

  async #tellCatalog(): Promise<void> {
    const row = this.#first<{ name: string; present: number; version: number }>(
      'SELECT name, present, version FROM repository WHERE announced < version',
    );
    if (row === null) return;
    await catalogOf(this.env).hear(row.name, row.present === 1, row.version);
    this.#sql.exec('UPDATE repository SET announced = MAX(announced, ?)', row.version);
  }

  async #tellShards(): Promise<void> {
    const released = this.#all<{ link: string; digest: Digest }>(
      'SELECT link, digest FROM released_links LIMIT 500',
    );
    await Promise.all(
      released.map(async ({ link, digest }) => {
        await shardOf(this.env, digest).unlink([link]);
        this.#sql.exec('DELETE FROM released_links WHERE link = ?', link);
      }),
    );
  }

  /** A repository that was never written to has no tables: names that are only asked for leave nothing behind. */
  #exists(): boolean {
    this.#made ??= this.#all("SELECT 1 FROM sqlite_master WHERE name = 'refusals'").length > 0;
    return this.#made;
  }

  #create(name: string): void {
    if (this.#made !== true) this.#sql.exec(REPOSITORY_SCHEMA);
    this.#made = true;
    this.#sql.exec('INSERT INTO repository VALUES (1, ?, 0, 0, 0) ON CONFLICT DO NOTHING', name);
  }

  get #sql(): SqlStorage {
    return this.ctx.storage.sql;
  }

  #all<Row extends object>(query: string, ...values: SqlStorageValue[]): Row[] {
    return this.#sql.exec(query, ...values).toArray() as Row[];
  }

  #first<Row extends object>(query: string, ...values: SqlStorageValue[]): Row | null {
    return this.#all<Row>(query, ...values)[0] ?? null;
  }
}
