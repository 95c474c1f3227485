/**
 * The links and contents of a shard: which storage keys have the bytes of a digest, and which links of repositories hold them.
 * Every method is one step of a transaction that `BlobShard` opens.
 */

import { DELETE_KEYS_MAX } from '../../worker/blobs/r2.ts';
import type { Digest } from '../../worker/oci/digest.ts';
import { literalPrefix, matchesEach, type Pattern } from '../../worker/oci/pattern.ts';
import { allRows, firstRow } from '../rows.ts';

/** After a crash on one machine, the content that was linked in this time before it is verified, newest first. */
const RECENT_MS = 3600 * 1000;
const UNVERIFIED_MAX = 1000;
/** Links that one alarm settles. Each may belong to another repository, which is one call. */
const SETTLED_AT_A_TIME = 500;

/** The bytes of a digest under one storage key. `stored` is 1 once a repository has had a link to them, so the store has them. */
export type Content = { key: string; size: number; stored: number };

/** What identifies a link. */
export type Link = { digest: Digest; key: string; repository: string; id: string };

/** `confirm_at` is null once the repository has confirmed the link. */
export type Holder = Link & { confirm_at: number | null };

/** Content whose bytes are to be compared with its digest. */
export type Unverified = { check_at: number; digest: Digest; key: string };

/** Links of one digest that a mount without a source reads. */
const HOLDERS_READ_MAX = 100;
/** Contents of one digest that are read. Each of several concurrent pushes of a digest stores one. */
const CONTENTS_READ_MAX = 20;

export class Contents {
  readonly #sql: SqlStorage;
  readonly #graceMs: number;
  readonly #confirmMs: number;

  /** `graceMs`: content without a link is deleted after this time. `confirmMs`: a link is settled after this time. */
  constructor(sql: SqlStorage, graceMs: number, confirmMs: number) {
    this.#sql = sql;
    this.#graceMs = graceMs;
    this.#confirmMs = confirmMs;
  }

  /** Contents of a digest that are not being deleted, up to CONTENTS_READ_MAX. Those that are known to be stored come first. */
  of(digest: Digest): Content[] {
    const stored = this.#storedOf(digest, CONTENTS_READ_MAX);
    const query = 'SELECT key, size, stored FROM objects WHERE digest = ? AND deleting = 0 LIMIT ?';
    const others = allRows<Content>(this.#sql, query, digest, CONTENTS_READ_MAX);
    return [...stored, ...others.filter((content) => content.stored === 0)].slice(0, CONTENTS_READ_MAX);
  }

  /** Content that is known to be stored. */
  stored(digest: Digest): Content | null {
    return this.#storedOf(digest, 1)[0] ?? null;
  }

  /** The content of a key, if it is known to be stored and is not being deleted. */
  storedAt(digest: Digest, key: string): Content | null {
    const query =
      'SELECT key, size, stored FROM objects WHERE digest = ? AND key = ? AND stored = 1 AND deleting = 0';
    return firstRow<Content>(this.#sql, query, digest, key);
  }

  /** The content of a key, if it is not being deleted. */
  at(digest: Digest, key: string): Content | null {
    const query = 'SELECT key, size, stored FROM objects WHERE digest = ? AND key = ? AND deleting = 0';
    return firstRow<Content>(this.#sql, query, digest, key);
  }

  /** Records content that a push is about to store. Null if the content of this key is being deleted. */
  expect(digest: Digest, key: string, size: number): Content | null {
    this.#sql.exec(
      'INSERT INTO objects (digest, key, size, stored) VALUES (?, ?, ?, 0) ON CONFLICT DO NOTHING',
      digest,
      key,
      size,
    );
    return this.at(digest, key);
  }

  /** Records that the store has the bytes of this content, because a repository has a link to it. */
  prove(digest: Digest, key: string): void {
    this.#sql.exec(
      'UPDATE objects SET stored = 1 WHERE digest = ? AND key = ? AND stored = 0 AND deleting = 0',
      digest,
      key,
    );
  }

  /** Whether there is content of this key, or of a key in this folder. */
  has(digest: Digest, key: string): boolean {
    const query = `SELECT 1 FROM objects WHERE digest = ?1 AND (key = ?2 OR (key > ?2 || '/' AND key < ?2 || '0')) LIMIT 1`;
    return firstRow(this.#sql, query, digest, key) !== null;
  }

  /** Adds a link. Content with a link is not deleted. */
  link({ digest, key, repository, id }: Link, confirmAt: number): void {
    this.#sql.exec(
      'INSERT INTO links (digest, key, repository, id, confirm_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING',
      digest,
      key,
      repository,
      id,
      confirmAt,
    );
    this.#sql.exec(
      'UPDATE objects SET delete_at = NULL WHERE digest = ? AND key = ? AND delete_at IS NOT NULL',
      digest,
      key,
    );
  }

  /** Removes a link. Content without a link is deleted later. */
  unlink({ digest, key, repository, id }: Link, now: number): void {
    const gone = allRows(
      this.#sql,
      'DELETE FROM links WHERE digest = ? AND key = ? AND repository = ? AND id = ? RETURNING id',
      digest,
      key,
      repository,
      id,
    );
    if (gone.length === 0) return;
    this.#sql.exec(
      `UPDATE objects SET delete_at = ?1 WHERE digest = ?2 AND key = ?3
         AND NOT EXISTS (SELECT 1 FROM links WHERE digest = ?2 AND key = ?3)`,
      now + this.#graceMs,
      digest,
      key,
    );
  }

  /** Up to `count` links to the content of a key. */
  holders(digest: Digest, key: string, count: number): Holder[] {
    const query =
      'SELECT digest, key, repository, id, confirm_at FROM links WHERE digest = ? AND key = ? LIMIT ?';
    return allRows<Holder>(this.#sql, query, digest, key, count);
  }

  /** The keys of those contents that another repository links. */
  keysHeldElsewhere(repository: string, contents: { digest: Digest; key: string }[]): string[] {
    const rows = allRows<{ key: string }>(
      this.#sql,
      `SELECT c.value ->> 'key' AS key FROM json_each(?1) c WHERE EXISTS
         (SELECT 1 FROM links l WHERE l.digest = c.value ->> 'digest' AND l.key = c.value ->> 'key' AND l.repository < ?2)
       OR EXISTS
         (SELECT 1 FROM links l WHERE l.digest = c.value ->> 'digest' AND l.key = c.value ->> 'key' AND l.repository > ?2)`,
      JSON.stringify(contents),
      repository,
    );
    return rows.map(({ key }) => key);
  }

  /**
   * Links of repositories whose names match a pattern of each list. The primary key finds the names that begin like a pattern. The
   * number of rows read is bounded, so if patterns begin with a star and match few of many holders, none may be found.
   */
  holdersAmong(digest: Digest, among: Pattern[][]): Holder[] {
    const prefixes = narrowest(among);
    const found: Holder[] = [];
    let left = HOLDERS_READ_MAX;
    for (const { key } of this.of(digest)) {
      for (const prefix of prefixes) {
        const links = allRows<Holder>(
          this.#sql,
          `SELECT digest, key, repository, id, confirm_at FROM links
           WHERE digest = ?1 AND key = ?2 AND repository >= ?3 AND repository < ?3 || char(127) LIMIT ?4`,
          digest,
          key,
          prefix,
          left,
        );
        found.push(...links.filter(({ repository }) => matchesEach(among, repository)));
        left -= links.length;
        if (left <= 0) return found;
      }
    }
    return found;
  }

  /** Links that are due to be settled, up to SETTLED_AT_A_TIME. */
  unsettled(now: number): Holder[] {
    const query = `SELECT digest, key, repository, id, confirm_at FROM links
      WHERE confirm_at <= ? ORDER BY confirm_at LIMIT ?`;
    return allRows<Holder>(this.#sql, query, now, SETTLED_AT_A_TIME);
  }

  /** Records that the repository has this link. */
  confirm(link: Link): void {
    this.prove(link.digest, link.key);
    this.settleAt(link, null);
  }

  settleAt({ digest, key, repository, id }: Link, at: number | null): void {
    this.#sql.exec(
      'UPDATE links SET confirm_at = ? WHERE digest = ? AND key = ? AND repository = ? AND id = ?',
      at,
      digest,
      key,
      repository,
      id,
    );
  }

  /** Marks contents that are due to be deleted, up to DELETE_KEYS_MAX. They get no new link. */
  beginDeleting(now: number): { digest: Digest; key: string }[] {
    return allRows(
      this.#sql,
      `UPDATE objects SET deleting = 1 WHERE (digest, key) IN (
         SELECT digest, key FROM objects o WHERE delete_at <= ? AND NOT EXISTS ${HELD} ORDER BY delete_at LIMIT ?)
       RETURNING digest, key`,
      now,
      DELETE_KEYS_MAX,
    );
  }

  /** Marks content as lost. False if there is no such content, or if it is being deleted. */
  lose(digest: Digest, key: string, now: number): boolean {
    const query = `UPDATE objects SET stored = 0, deleting = 1, delete_at = ?
      WHERE digest = ? AND key = ? AND deleting = 0 RETURNING key`;
    return firstRow(this.#sql, query, now, digest, key) !== null;
  }

  /** Lost contents that still have links. */
  lost(now: number, count: number): { digest: Digest; key: string }[] {
    const query = `SELECT digest, key FROM objects o
      WHERE delete_at <= ? AND deleting = 1 AND EXISTS ${HELD} ORDER BY delete_at LIMIT ?`;
    return allRows(this.#sql, query, now, count);
  }

  /** Removes a link whose content is lost. */
  removeLink({ digest, key, repository, id }: Link): void {
    this.#sql.exec(
      'DELETE FROM links WHERE digest = ? AND key = ? AND repository = ? AND id = ?',
      digest,
      key,
      repository,
      id,
    );
  }

  /** Removes contents whose bytes were deleted. */
  forget(contents: { digest: Digest; key: string }[]): void {
    this.#sql.exec(`DELETE FROM objects WHERE ${LISTED}`, JSON.stringify(contents));
  }

  deleteAt(contents: { digest: Digest; key: string }[], at: number): void {
    this.#sql.exec(`UPDATE objects SET delete_at = ?2 WHERE ${LISTED}`, JSON.stringify(contents), at);
  }

  /**
   * Lists the contents that were linked last, to be verified. `confirm_at` of unsettled links tells when they were made. Returns how
   * many contents there are, and how many of them are listed.
   */
  listRecent(now: number): { recent: number; listed: number } {
    const newest = this.#newestLink(now);
    if (newest === null) return { recent: 0, listed: 0 };
    const range = 'FROM links WHERE confirm_at BETWEEN ? AND ? GROUP BY digest, key';
    const [since, until] = [newest - RECENT_MS, newest];
    const count = `SELECT COUNT(*) AS recent FROM (SELECT 1 ${range})`;
    const recent = firstRow<{ recent: number }>(this.#sql, count, since, until)?.recent ?? 0;
    this.#sql.exec(
      `INSERT OR IGNORE INTO unverified (check_at, digest, key)
         SELECT 0, digest, key ${range} ORDER BY MAX(confirm_at) DESC LIMIT ?`,
      since,
      until,
      UNVERIFIED_MAX,
    );
    return { recent, listed: Math.min(recent, UNVERIFIED_MAX) };
  }

  /** Up to `count` contents that are due to be verified. */
  unverified(now: number, count: number): Unverified[] {
    const query =
      'SELECT check_at, digest, key FROM unverified WHERE check_at <= ? ORDER BY check_at LIMIT ?';
    return allRows<Unverified>(this.#sql, query, now, count);
  }

  verified({ check_at, digest, key }: Unverified): void {
    const query = 'DELETE FROM unverified WHERE check_at = ? AND digest = ? AND key = ?';
    this.#sql.exec(query, check_at, digest, key);
  }

  verifyAt({ check_at, digest, key }: Unverified, at: number): void {
    const query =
      'UPDATE OR REPLACE unverified SET check_at = ? WHERE check_at = ? AND digest = ? AND key = ?';
    this.#sql.exec(query, at, check_at, digest, key);
  }

  /** The latest `confirm_at` that this clock can have written; if the clock was set back, the latest of all. */
  #newestLink(now: number): number | null {
    for (const until of [now + this.#confirmMs, Number.MAX_SAFE_INTEGER]) {
      const query = 'SELECT MAX(confirm_at) AS at FROM links WHERE confirm_at <= ?';
      const at = firstRow<{ at: number | null }>(this.#sql, query, until)?.at ?? null;
      if (at !== null) return at;
    }
    return null;
  }

  /** Reads an index of stored contents only, because failed pushes can leave many others. */
  #storedOf(digest: Digest, count: number): Content[] {
    const query = `SELECT key, size, stored FROM objects INDEXED BY objects_stored
      WHERE digest = ? AND stored = 1 AND deleting = 0 LIMIT ?`;
    return allRows<Content>(this.#sql, query, digest, count);
  }

  /** When the next link is to be settled, or the next content to be deleted or verified. */
  nextDue(): number | null {
    const query = `SELECT MIN(at) AS at FROM (
      SELECT MIN(confirm_at) AS at FROM links WHERE confirm_at IS NOT NULL
      UNION ALL SELECT MIN(delete_at) FROM objects WHERE delete_at IS NOT NULL
      UNION ALL SELECT MIN(check_at) FROM unverified)`;
    return firstRow<{ at: number | null }>(this.#sql, query)?.at ?? null;
  }
}

/** A link to the content `o`. */
const HELD = '(SELECT 1 FROM links l WHERE l.digest = o.digest AND l.key = o.key)';
const LISTED = `(digest, key) IN (SELECT value ->> 'digest', value ->> 'key' FROM json_each(?1))`;

/** What the matching names begin with, from the list of patterns with the longest prefixes. */
function narrowest(among: Pattern[][]): Set<string> {
  const lists = among.map((patterns) => new Set(patterns.map(literalPrefix)));
  const shortest = (prefixes: Set<string>) => Math.min(...[...prefixes].map((prefix) => prefix.length));
  return lists.sort((one, other) => shortest(other) - shortest(one))[0] ?? new Set(['']);
}
