/**
 * The history of the tags of a repository: each move and deletion of a tag, who made it, and why. Every method is one step of a
 * transaction that `Repository` opens.
 *
 * A row has `until` once it says nothing about the present any more: the time of the next move, or its own time if it is a deletion.
 * Rows are removed when that is longer ago than a deletion can be undone. So every time in between can be answered.
 */
import type { Digest } from '../../worker/oci/digest.ts';
import type { Act, MovePlace, TagDiff, TagMove, Why } from '../../worker/oci/upkeep.ts';
import { allRows, EXPIRED_ROWS_AT_A_TIME, firstRow } from '../rows.ts';

/** A change at a time, as part of a deletion or not. */
export interface Move extends Act {
  /** Unix time, ms. */
  at: number;
  deletion: string | null;
}

type LastRow = { seq: number; digest: Digest | null };
type MoveRow = Omit<TagMove, 'why'> & { why: string };

const COLUMNS = `h.tag, h.seq, h.digest, h.at, h.actor, h.address, h.why, h.source, h.deletion,
  (SELECT digest FROM tag_history b WHERE b.tag = h.tag AND b.seq < h.seq ORDER BY b.seq DESC LIMIT 1) AS "from"`;

export class History {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  /** Records that a tag leads to another digest now, or (null) that it was deleted. */
  record(
    tag: string,
    digest: Digest | null,
    { at, actor, address, why, source = null, deletion }: Move,
  ): void {
    const last = this.#last(tag);
    if (last !== null && last.digest !== null)
      this.#sql.exec('UPDATE tag_history SET until = ? WHERE tag = ? AND seq = ?', at, tag, last.seq);
    this.#sql.exec(
      `INSERT INTO tag_history (tag, seq, digest, at, until, actor, address, why, source, deletion)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      tag,
      (last?.seq ?? 0) + 1,
      digest,
      at,
      digest === null ? at : null,
      actor,
      address,
      why,
      source,
      deletion,
    );
  }

  /** Records that these tags, which there are, were deleted. */
  recordDeleted(tags: string[], { at, actor, address, why, deletion }: Move): void {
    const listed = JSON.stringify(tags);
    this.#sql.exec(
      `UPDATE tag_history SET until = ?2 WHERE (tag, seq) IN
         (SELECT value, (SELECT MAX(seq) FROM tag_history WHERE tag = value) FROM json_each(?1))`,
      listed,
      at,
    );
    this.#sql.exec(
      `INSERT INTO tag_history (tag, seq, digest, at, until, actor, address, why, deletion)
         SELECT value, (SELECT COALESCE(MAX(seq), 0) + 1 FROM tag_history WHERE tag = value), NULL, ?2, ?2, ?3, ?4, ?5, ?6
         FROM json_each(?1)`,
      listed,
      at,
      actor,
      address,
      why,
      deletion,
    );
  }

  /** What a tag led to at a time; `holds` if it leads there still, unless its deletion is still to be recorded. */
  at(tag: string, time: number): { digest: Digest; holds: boolean } | null {
    const row = firstRow<{ digest: Digest | null; until: number | null }>(
      this.#sql,
      'SELECT digest, until FROM tag_history WHERE tag = ? AND at <= ? ORDER BY seq DESC LIMIT 1',
      tag,
      time,
    );
    if (row === null || row.digest === null) return null;
    return { digest: row.digest, holds: row.until === null };
  }

  /** The moves of a tag before a move, newest first. */
  movesOf(tag: string, before: number | null, count: number): TagMove[] {
    const rows = allRows<MoveRow>(
      this.#sql,
      `SELECT ${COLUMNS} FROM tag_history h WHERE h.tag = ? AND h.seq < ? ORDER BY h.seq DESC LIMIT ?`,
      tag,
      before ?? Number.MAX_SAFE_INTEGER,
      count,
    );
    return rows.map(moveOf);
  }

  /** The moves of all tags from a time on and before a move, newest first. Reads the whole history. */
  moves(since: number, before: MovePlace | null, count: number): TagMove[] {
    const rows = allRows<MoveRow>(
      this.#sql,
      `SELECT ${COLUMNS} FROM tag_history h WHERE h.at >= ?1 AND (?2 IS NULL OR h.at < ?2
         OR (h.at = ?2 AND (h.tag > ?3 OR (h.tag = ?3 AND h.seq < ?4))))
       ORDER BY h.at DESC, h.tag, h.seq DESC LIMIT ?5`,
      since,
      before?.at ?? null,
      before?.tag ?? null,
      before?.seq ?? null,
      count,
    );
    return rows.map(moveOf);
  }

  /** Tags after `last` that led to something else at one time than at another. */
  diff(from: number, to: number, last: string, count: number): TagDiff[] {
    const then = (time: string) =>
      `(SELECT digest FROM tag_history h WHERE h.tag = t.tag AND h.at <= ${time} ORDER BY h.seq DESC LIMIT 1)`;
    return allRows<TagDiff>(
      this.#sql,
      `SELECT tag, "from", "to" FROM (SELECT t.tag, ${then('?1')} AS "from", ${then('?2')} AS "to" FROM
         (SELECT DISTINCT tag FROM tag_history WHERE at > MIN(?1, ?2) AND at <= MAX(?1, ?2) AND tag > ?3) t)
       WHERE "from" IS NOT "to" ORDER BY tag LIMIT ?4`,
      from,
      to,
      last,
      count,
    );
  }

  /** The tags that a deletion deleted, after a tag, with what they led to. */
  deletedBy(deletion: string, after: string, count: number): { tag: string; seq: number; digest: Digest }[] {
    return allRows(
      this.#sql,
      `SELECT h.tag, h.seq, b.digest FROM tag_history h
         JOIN tag_history b ON b.tag = h.tag AND b.seq = h.seq - 1
       WHERE h.deletion = ? AND h.tag > ? AND h.digest IS NULL AND b.digest IS NOT NULL ORDER BY h.tag LIMIT ?`,
      deletion,
      after,
      count,
    );
  }

  /** How many tags a deletion deleted, and how many of them have moved since. */
  countDeletedBy(deletion: string): { all: number; moved: number } {
    const counts = firstRow<{ all: number; moved: number | null }>(
      this.#sql,
      `SELECT COUNT(*) AS "all", SUM(h.seq <> (SELECT MAX(seq) FROM tag_history l WHERE l.tag = h.tag)) AS moved
       FROM tag_history h WHERE h.deletion = ? AND h.digest IS NULL`,
      deletion,
    );
    return { all: counts?.all ?? 0, moved: counts?.moved ?? 0 };
  }

  /** As `deletedBy`, only tags that have moved since. */
  movedSince(deletion: string, count: number): { tag: string; seq: number; digest: Digest }[] {
    return allRows(
      this.#sql,
      `SELECT h.tag, h.seq, b.digest FROM tag_history h
         JOIN tag_history b ON b.tag = h.tag AND b.seq = h.seq - 1
       WHERE h.deletion = ? AND h.digest IS NULL AND b.digest IS NOT NULL
         AND h.seq <> (SELECT MAX(seq) FROM tag_history l WHERE l.tag = h.tag) ORDER BY h.tag LIMIT ?`,
      deletion,
      count,
    );
  }

  /** The number of the last move of a tag; 0 if none is known. */
  lastOf(tag: string): number {
    return this.#last(tag)?.seq ?? 0;
  }

  /** Removes rows that no time since `cutoff` needs, up to EXPIRED_ROWS_AT_A_TIME. */
  removeOld(cutoff: number): void {
    this.#sql.exec(
      `DELETE FROM tag_history WHERE (tag, seq) IN
         (SELECT tag, seq FROM tag_history WHERE until < ? ORDER BY until LIMIT ?)`,
      cutoff,
      EXPIRED_ROWS_AT_A_TIME,
    );
  }

  /** The earliest `until` (Unix time, ms); null if no row has one. */
  oldest(): number | null {
    const query = 'SELECT MIN(until) AS at FROM tag_history WHERE until IS NOT NULL';
    return firstRow<{ at: number | null }>(this.#sql, query)?.at ?? null;
  }

  /** Whether rows of earlier releases have no `until` yet. */
  hasToFill(): boolean {
    return firstRow(this.#sql, 'SELECT 1 FROM repository WHERE fill_after IS NOT NULL') !== null;
  }

  /** Gives rows of earlier releases their `until`, the next EXPIRED_ROWS_AT_A_TIME. */
  fill(): void {
    const place = firstRow<{ after: string | null }>(this.#sql, 'SELECT fill_after AS after FROM repository');
    const after = place?.after ?? null;
    if (after === null) return;
    const [tag = '', seq = '0'] = after.split(' ');
    const rows = allRows<{ tag: string; seq: number }>(
      this.#sql,
      `UPDATE tag_history SET until = CASE WHEN digest IS NULL THEN at ELSE
         (SELECT n.at FROM tag_history n WHERE n.tag = tag_history.tag AND n.seq > tag_history.seq ORDER BY n.seq LIMIT 1) END
       WHERE (tag, seq) IN (SELECT tag, seq FROM tag_history WHERE (tag, seq) > (?, ?) ORDER BY tag, seq LIMIT ?)
       RETURNING tag, seq`,
      tag,
      Number(seq),
      EXPIRED_ROWS_AT_A_TIME,
    );
    const last = rows
      .sort((one, other) => (one.tag === other.tag ? one.seq - other.seq : one.tag < other.tag ? -1 : 1))
      .at(-1);
    this.#sql.exec(
      'UPDATE repository SET fill_after = ?',
      last === undefined ? null : `${last.tag} ${last.seq}`,
    );
  }

  #last(tag: string): LastRow | null {
    const query = 'SELECT seq, digest FROM tag_history WHERE tag = ? ORDER BY seq DESC LIMIT 1';
    return firstRow<LastRow>(this.#sql, query, tag);
  }
}

function moveOf({ why, ...row }: MoveRow): TagMove {
  return { ...row, why: (why || 'push') as Why };
}
