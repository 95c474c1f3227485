/**
 * Uploads of a repository that began and brought no bytes. Cloudflare refuses a body over its limit before the Worker runs, and this is
 * all that the registry can see of it: a client asked for a digest that is not here, got a Location, and was not heard of again.
 *
 * What clients ask for and send is known only in memory. An upload that began before this object did is never counted, because
 * the object knows of no digest that was asked for before it. There is one row for each digest, and it is deleted when the blob arrives.
 */
import type { AbandonedUploads, SilentUpload } from '../../worker/objects/repository.ts';
import type { Digest } from '../../worker/oci/digest.ts';
import { ABANDONED_UPLOAD_KEPT_MS } from '../graces.ts';
import { firstRow } from '../rows.ts';

/** Clients ask for a digest and then start its upload. Between both they may compress it. */
const ASKED_BEFORE_MS = 5 * 60_000;
/** Digests and uploads that are remembered: the latest ones. */
const REMEMBERED_MAX = 1000;
/** Rows that are kept: the latest ones. */
const ROWS_MAX = 100;
const USER_AGENT_MAX_LENGTH = 200;

export class Abandoned {
  readonly #sql: SqlStorage;
  /** Digests that clients asked for and that are not here -> when they were first and last asked for (Unix time, ms). */
  readonly #missed = new Map<string, { first: number; last: number }>();
  /** Uploads that have brought bytes. */
  readonly #begun = new Map<string, true>();
  /** What `lastAt` returns; undefined if it is not read yet. */
  #lastAt: number | null | undefined;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  /** A client has asked for a blob that is not here. */
  missed(digest: Digest, now: number): void {
    const { first } = this.#missed.get(digest) ?? { first: now };
    setLatest(this.#missed, digest, { first, last: now });
  }

  /** An upload brings bytes. */
  begun(upload: string): void {
    setLatest(this.#begun, upload, true);
  }

  /** A blob was linked. Returns whether this ended a row. */
  arrived(digest: Digest): boolean {
    this.#missed.delete(digest);
    if (this.lastAt() === null) return false;
    const { rowsWritten } = this.#sql.exec('DELETE FROM abandoned_uploads WHERE digest = ?', digest);
    this.#lastAt = undefined;
    return rowsWritten > 0;
  }

  /** Writes a row for each upload that was abandoned. Returns whether there was one. */
  record(uploads: SilentUpload[], isHere: (digest: Digest) => boolean): boolean {
    const taken = new Set<string>();
    for (const { id, offeredAt, userAgent, wasCut } of uploads) {
      if (!wasCut && this.#begun.has(id)) continue;
      const digest = this.#wanted(offeredAt, taken, isHere) ?? (wasCut ? id : null);
      if (digest === null) continue;
      taken.add(digest);
      this.#sql.exec(
        `INSERT INTO abandoned_uploads (digest, times, last_at, user_agent) VALUES (?1, 1, ?2, ?3)
         ON CONFLICT (digest) DO UPDATE SET times = times + 1, last_at = MAX(last_at, ?2), user_agent = ?3`,
        digest,
        offeredAt,
        userAgent.slice(0, USER_AGENT_MAX_LENGTH),
      );
    }
    if (taken.size === 0) return false;
    this.#sql.exec(
      `DELETE FROM abandoned_uploads WHERE digest IN
         (SELECT digest FROM abandoned_uploads ORDER BY last_at DESC LIMIT -1 OFFSET ?)`,
      ROWS_MAX,
    );
    this.#lastAt = undefined;
    return true;
  }

  /** When the latest of the abandoned uploads began (Unix time, ms); null for never. Needs the tables. */
  lastAt(): number | null {
    this.#lastAt ??=
      firstRow<{ at: number | null }>(this.#sql, 'SELECT MAX(last_at) AS at FROM abandoned_uploads')?.at ??
      null;
    return this.#lastAt;
  }

  /** Null if there are none. */
  summary(): AbandonedUploads | null {
    return firstRow<AbandonedUploads>(
      this.#sql,
      `SELECT (SELECT SUM(times) FROM abandoned_uploads) AS count, last_at AS lastAt, user_agent AS userAgent
       FROM abandoned_uploads ORDER BY last_at DESC LIMIT 1`,
    );
  }

  removeExpired(now: number): void {
    this.#sql.exec('DELETE FROM abandoned_uploads WHERE last_at <= ?', now - ABANDONED_UPLOAD_KEPT_MS);
    this.#lastAt = undefined;
  }

  /** Unix time, ms; null if nothing expires. */
  nextExpiry(): number | null {
    const query = 'SELECT MIN(last_at) AS at FROM abandoned_uploads';
    const at = firstRow<{ at: number | null }>(this.#sql, query)?.at ?? null;
    return at === null ? null : at + ABANDONED_UPLOAD_KEPT_MS;
  }

  /** The tables are gone. */
  forget(): void {
    this.#lastAt = undefined;
  }

  /** The digest that the client asked for before it got this upload, if it is not here yet. */
  #wanted(offeredAt: number, taken: Set<string>, isHere: (digest: Digest) => boolean): string | null {
    for (const [digest, { first, last }] of [...this.#missed].reverse()) {
      if (first > offeredAt || last < offeredAt - ASKED_BEFORE_MS || taken.has(digest)) continue;
      if (!isHere(digest as Digest)) return digest;
    }
    return null;
  }
}

function setLatest<V>(map: Map<string, V>, key: string, value: V): void {
  map.delete(key);
  map.set(key, value);
  const [oldest] = map.keys();
  if (map.size > REMEMBERED_MAX && oldest !== undefined) map.delete(oldest);
}
