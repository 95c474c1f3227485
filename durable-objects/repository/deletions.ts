/** The deletions of a repository that can be undone. Every method is one step of a transaction that `Repository` opens. */
import type { Act, Deletion, Why } from '../../worker/oci/upkeep.ts';
import { allRows, firstRow } from '../rows.ts';

type DeletionRow = Omit<Deletion, 'why' | 'what' | 'names' | 'state'> & {
  why: string;
  what: string;
  names: string;
  state: string;
  restoredAfter: string | null;
  isLeaving: number;
};

const COLUMNS = `id, at, actor, address, why, what, names, tags, manifests, bytes, undo_until AS undoUntil, state,
  restored_after AS restoredAfter, EXISTS (SELECT 1 FROM departures p WHERE p.deletion = deletions.id)
    OR EXISTS (SELECT 1 FROM deleted_manifests m WHERE m.deletion = deletions.id) AS isLeaving`;

export class Deletions {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  add(deletion: Omit<Deletion, 'state'>): void {
    const { id, at, actor, address, why, what, names, tags, manifests, bytes, undoUntil } = deletion;
    this.#sql.exec(
      `INSERT INTO deletions (id, at, actor, address, why, what, names, tags, manifests, bytes, undo_until, state)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'deleted')`,
      id,
      at,
      actor,
      address,
      why,
      what,
      JSON.stringify(names),
      tags,
      manifests,
      bytes,
      undoUntil,
    );
  }

  /** Adds to what a deletion has removed. */
  count(id: string, { tags, manifests, bytes }: { tags: number; manifests: number; bytes: number }): void {
    if (tags + manifests + bytes === 0) return;
    this.#sql.exec(
      'UPDATE deletions SET tags = tags + ?, manifests = manifests + ?, bytes = bytes + ? WHERE id = ?',
      tags,
      manifests,
      bytes,
      id,
    );
  }

  get(id: string): Deletion | null {
    const row = firstRow<DeletionRow>(this.#sql, `SELECT ${COLUMNS} FROM deletions WHERE id = ?`, id);
    return row === null ? null : deletionOf(row);
  }

  /** Who made a deletion, when and why. */
  change(id: string): (Act & { at: number }) | null {
    return firstRow(this.#sql, 'SELECT at, actor, address, why FROM deletions WHERE id = ?', id);
  }

  /** Deletions before an id that can still be undone, newest first. */
  list(before: string | null, now: number, count: number): Deletion[] {
    const rows = allRows<DeletionRow>(
      this.#sql,
      `SELECT ${COLUMNS} FROM deletions WHERE id < ? AND undo_until > ? ORDER BY id DESC LIMIT ?`,
      before ?? '~',
      now,
      count,
    );
    return rows.map(deletionOf);
  }

  /** The deletion that cannot be undone any more for the longest time. `isPurged`: someone has asked for that. */
  due(now: number): { id: string; isPurged: boolean } | null {
    const query =
      'SELECT id, is_purged AS isPurged FROM deletions WHERE undo_until <= ? ORDER BY undo_until LIMIT 1';
    const row = firstRow<{ id: string; isPurged: number }>(this.#sql, query, now);
    return row === null ? null : { id: row.id, isPurged: row.isPurged === 1 };
  }

  /** When the next deletion cannot be undone any more (Unix time, ms). */
  nextDue(): number | null {
    const query = 'SELECT MIN(undo_until) AS at FROM deletions';
    return firstRow<{ at: number | null }>(this.#sql, query)?.at ?? null;
  }

  /** When the oldest deletion was made (Unix time, ms); null if there is none. */
  first(): number | null {
    const query = 'SELECT at FROM deletions ORDER BY id LIMIT 1';
    return firstRow<{ at: number }>(this.#sql, query)?.at ?? null;
  }

  /** Ends the time in which a deletion can be undone, because someone asks for it. */
  end(id: string, now: number): void {
    this.#sql.exec(
      'UPDATE deletions SET undo_until = MIN(undo_until, ?), is_purged = 1 WHERE id = ?',
      now,
      id,
    );
  }

  remove(id: string): void {
    this.#sql.exec('DELETE FROM deletions WHERE id = ?', id);
  }

  /** `after`: where a restore goes on; null if it has ended. */
  restored(id: string, after: string | null): void {
    this.#sql.exec(
      'UPDATE deletions SET state = ?, restored_after = ? WHERE id = ?',
      after === null ? 'restored' : 'restoring',
      after,
      id,
    );
  }

  /** A deletion whose restore is under way. */
  restoring(): { id: string; after: string } | null {
    const query = `SELECT id, restored_after AS after FROM deletions WHERE restored_after IS NOT NULL ORDER BY id LIMIT 1`;
    return firstRow(this.#sql, query);
  }
}

function deletionOf({ why, what, names, state, isLeaving, restoredAfter, ...row }: DeletionRow): Deletion {
  return {
    ...row,
    why: why as Why,
    what: what as Deletion['what'],
    names: JSON.parse(names),
    state: isLeaving === 1 && restoredAfter === null ? 'deleting' : (state as Deletion['state']),
  };
}
