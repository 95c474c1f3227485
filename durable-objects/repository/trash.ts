/**
 * The trash of a repository: manifests that were deleted and can be restored, and those whose rows are still on their way there.
 * Every method is one step of a transaction that `Repository` opens.
 *
 * The bytes of a manifest in the trash, and the rows that say what it names, stay where they are. So its blobs keep their links.
 */
import type { Digest } from '../../worker/oci/digest.ts';
import { allRows, firstRow } from '../rows.ts';
import { TRASH } from './schema.ts';

/** The row of a manifest. */
export type ManifestRow = {
  digest: Digest;
  media_type: string;
  size: number;
  subject: Digest | null;
  artifact_type: string | null;
  annotations: string | null;
  pushed_at: number;
};

export type TrashedRow = ManifestRow & { deletion: string; readable_until: number | null };

/** Manifests that are deleted, and whose rows are still to be moved. */
export type Departure = {
  /** The untagged referrers of this digest; '' for all manifests. */
  subject: Digest | '';
  /** Only those of earlier generations. */
  before: number;
  /** Null where they are not kept. */
  deletion: string | null;
  at: number;
  /** The digest that was looked at last. */
  after: string;
};

const MANIFEST_COLUMNS = 'digest, media_type, size, subject, artifact_type, annotations, pushed_at';
const DEPARTURE_COLUMNS = 'subject, before, deletion, at, after';
const COLUMNS = `${MANIFEST_COLUMNS}, deletion, readable_until`;

/** How long a client that was told of a manifest in the trash can read it and what it names. */
const READABLE_MS = 3600 * 1000;

export class Trash {
  readonly #sql: SqlStorage;
  #hasTables: boolean | undefined;
  #hasDepartures: boolean | undefined;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  exists(): boolean {
    this.#hasTables ??= firstRow(this.#sql, `SELECT 1 FROM sqlite_master WHERE name = 'departures'`) !== null;
    return this.#hasTables;
  }

  create(): void {
    if (this.exists()) return;
    this.#sql.exec(TRASH);
    this.#hasTables = true;
  }

  /** The tables are gone, or a transaction that changed them was not committed. */
  forget(): void {
    this.#hasTables = undefined;
    this.#hasDepartures = undefined;
  }

  /** The condition that the row `m` of `manifests` is not deleted. */
  live(m: string): string {
    if (!this.hasDepartures()) return 'TRUE';
    return `NOT EXISTS (SELECT 1 FROM departures d WHERE d.subject IN ('', ${m}.subject) AND d.before > ${m}.generation
      AND (d.subject = '' OR ${this.isFree(m)}))`;
  }

  /** The condition that the row `m` of `manifests` has no tag, and that no index names it. */
  isFree(m: string): string {
    return `(NOT EXISTS (SELECT 1 FROM tags dt WHERE dt.digest = ${m}.digest AND dt.generation = ${m}.generation)
      AND NOT EXISTS (SELECT 1 FROM named_by dn JOIN manifests dp ON dp.digest = dn.manifest
        WHERE dn.digest = ${m}.digest AND dp.subject IS NOT ${m}.digest))`;
  }

  /** The condition that the manifest of the row `t` of `tags` was deleted with the whole repository. */
  isClearedTag(t: string): string {
    if (!this.hasDepartures()) return 'FALSE';
    return `EXISTS (SELECT 1 FROM departures d WHERE d.subject = '' AND d.before > ${t}.generation)`;
  }

  add(row: ManifestRow, deletion: string): void {
    this.#sql.exec(
      `INSERT OR REPLACE INTO trashed_manifests (${MANIFEST_COLUMNS}, deletion) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
      row.digest,
      row.media_type,
      row.size,
      row.subject,
      row.artifact_type,
      row.annotations,
      row.pushed_at,
      deletion,
    );
  }

  get(digest: Digest): TrashedRow | null {
    if (!this.exists()) return null;
    return firstRow<TrashedRow>(
      this.#sql,
      `SELECT ${COLUMNS} FROM trashed_manifests WHERE digest = ?`,
      digest,
    );
  }

  /** As `get`, only if the deletion can be undone now, or is being undone. The rows of others are still to be removed. */
  restorable(digest: Digest): TrashedRow | null {
    if (!this.exists()) return null;
    return firstRow<TrashedRow>(
      this.#sql,
      `SELECT ${COLUMNS} FROM trashed_manifests WHERE digest = ? AND EXISTS
         (SELECT 1 FROM deletions d WHERE d.id = deletion AND (d.undo_until > ? OR d.restored_after IS NOT NULL))`,
      digest,
      Date.now(),
    );
  }

  /** Manifests of a deletion after a digest. */
  of(deletion: string, after: string, count: number): TrashedRow[] {
    return allRows<TrashedRow>(
      this.#sql,
      `SELECT ${COLUMNS} FROM trashed_manifests WHERE deletion = ? AND digest > ? ORDER BY digest LIMIT ?`,
      deletion,
      after,
      count,
    );
  }

  /** How many manifests of a deletion are in the trash. */
  count(deletion: string): number {
    const query = 'SELECT COUNT(*) AS count FROM trashed_manifests WHERE deletion = ?';
    return firstRow<{ count: number }>(this.#sql, query, deletion)?.count ?? 0;
  }

  /** Manifests in the trash that refer to a subject. */
  referrersOf(subject: Digest, count: number): TrashedRow[] {
    return allRows<TrashedRow>(
      this.#sql,
      `SELECT ${COLUMNS} FROM trashed_manifests WHERE subject = ? LIMIT ?`,
      subject,
      count,
    );
  }

  remove(digest: Digest): void {
    if (this.exists()) this.#sql.exec('DELETE FROM trashed_manifests WHERE digest = ?', digest);
  }

  /** Lets clients read manifests in the trash by digest for a while. Writes only where less than half of the time is left. */
  lend(digests: Digest[], now: number): void {
    if (!this.exists()) return;
    this.#sql.exec(
      `UPDATE trashed_manifests SET readable_until = ? WHERE digest IN (SELECT value FROM json_each(?))
         AND COALESCE(readable_until, 0) < ?`,
      now + READABLE_MS,
      JSON.stringify(digests),
      now + READABLE_MS / 2,
    );
  }

  hasDepartures(): boolean {
    if (!this.exists()) return false;
    this.#hasDepartures ??= firstRow(this.#sql, 'SELECT 1 FROM departures LIMIT 1') !== null;
    return this.#hasDepartures;
  }

  /** Whether untagged referrers of a manifest are on their way. */
  hasLeavingReferrers(): boolean {
    return (
      this.hasDepartures() &&
      firstRow(this.#sql, `SELECT 1 FROM departures WHERE subject <> '' LIMIT 1`) !== null
    );
  }

  /** Makes all manifests that match departures of now on deleted, before their rows are moved. */
  depart({ subject, before, deletion, at }: Omit<Departure, 'after'>): void {
    this.#sql.exec(
      `INSERT OR REPLACE INTO departures (subject, before, deletion, at, after) VALUES (?, ?, ?, ?, '')`,
      subject,
      before,
      deletion,
      at,
    );
    this.#hasDepartures = true;
  }

  departures(count: number): Departure[] {
    if (!this.hasDepartures()) return [];
    return allRows<Departure>(
      this.#sql,
      `SELECT ${DEPARTURE_COLUMNS} FROM departures ORDER BY before LIMIT ?`,
      count,
    );
  }

  /** The departure of a manifest with this subject and generation; null if it stays. */
  departureOf(subject: Digest | '' | null, generation: number): Departure | null {
    if (!this.hasDepartures()) return null;
    const query = `SELECT ${DEPARTURE_COLUMNS} FROM departures WHERE subject IN ('', ?) AND before > ? ORDER BY before LIMIT 1`;
    return firstRow<Departure>(this.#sql, query, subject, generation);
  }

  /** Above the generations of all manifests that are on their way. */
  generationsBefore(): number {
    if (!this.hasDepartures()) return 0;
    const query = 'SELECT MAX(before) AS before FROM departures';
    return firstRow<{ before: number | null }>(this.#sql, query)?.before ?? 0;
  }

  departed({ subject, before }: Departure, after: string | null): void {
    if (after === null)
      this.#sql.exec('DELETE FROM departures WHERE subject = ? AND before = ?', subject, before);
    else
      this.#sql.exec(
        'UPDATE departures SET after = ? WHERE subject = ? AND before = ?',
        after,
        subject,
        before,
      );
    this.#hasDepartures = undefined;
  }

  /** Whether rows of a deletion are still on their way. */
  isLeaving(deletion: string): boolean {
    if (!this.hasDepartures()) return false;
    return firstRow(this.#sql, 'SELECT 1 FROM departures WHERE deletion = ? LIMIT 1', deletion) !== null;
  }

  /**
   * What is on its way by a deletion is there again. Returns whether that is something. Not if others are on their way too: they may be
   * for the same manifests, and only the earliest counts. Then this deletion must end first.
   */
  stay(deletion: string): boolean {
    if (!this.hasDepartures()) return false;
    const query = 'SELECT 1 FROM departures WHERE deletion IS NOT ? LIMIT 1';
    if (firstRow(this.#sql, query, deletion) !== null) return false;
    const stays = 'DELETE FROM departures WHERE deletion = ? RETURNING subject';
    const isSome = allRows(this.#sql, stays, deletion).length > 0;
    this.#hasDepartures = undefined;
    return isSome;
  }

  /** Whether a manifest that clients may read for a while names a blob. */
  lendsBlob(digest: Digest, now: number): boolean {
    if (!this.exists()) return false;
    const query = `SELECT 1 FROM named_by n JOIN trashed_manifests t ON t.digest = n.manifest
      WHERE n.digest = ? AND t.readable_until > ? LIMIT 1`;
    return firstRow(this.#sql, query, digest, now) !== null;
  }
}
