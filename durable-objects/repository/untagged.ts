/**
 * Finds manifests that lost their last tag some days ago and that nothing needs. Once a day, all manifests are looked at, in steps.
 * Every method is one step of a transaction that `Repository` opens.
 */
import { isRetention, type LifecyclePolicy } from '../../worker/lifecycle/policy.ts';
import type { Digest } from '../../worker/oci/digest.ts';
import { allRows, EXPIRED_ROWS_AT_A_TIME, firstRow } from '../rows.ts';
import type { Trash } from './trash.ts';

const DAY_MS = 24 * 3600 * 1000;
/** Manifests that one step deletes. What goes with them is more. */
const DELETED_AT_A_TIME = 50;
/** A generation is in microseconds. */
const GENERATIONS_A_MS = 1000;

/** Where the run of a day stands. */
interface Run {
  /** When to go on (Unix time, ms). */
  at: number;
  /** The digest that was looked at last; '' at the beginning. */
  after: string;
  /** The deletion of this run; null before its first. */
  deletion: string | null;
}

export class Untagged {
  readonly #sql: SqlStorage;
  readonly #trash: Trash;
  readonly #undoMs: number;

  constructor(sql: SqlStorage, trash: Trash, undoMs: number) {
    this.#sql = sql;
    this.#trash = trash;
    this.#undoMs = undoMs;
  }

  /** After how long an untagged manifest is deleted, in ms: the longest time of all policies. Null for never. */
  static after(policies: LifecyclePolicy[]): number | null {
    const days = policies.filter(isRetention).flatMap(({ untaggedAfter }) => untaggedAfter ?? []);
    return days.length === 0 ? null : Math.max(...days) * DAY_MS;
  }

  /** When the next step is due (Unix time, ms). */
  nextDue(): number {
    return this.#run().at;
  }

  /** The deletion of the run that goes on; null for a new one. */
  deletion(): string | null {
    return this.#run().deletion;
  }

  /** The next manifests that are to be deleted, and where the search goes on: null at its end. `reported` are digests that run. */
  find(afterMs: number, reported: Digest[], now: number): { digests: Digest[]; last: string | null } {
    const { after } = this.#run();
    const page = allRows<{ digest: Digest }>(
      this.#sql,
      'SELECT digest FROM manifests WHERE digest > ? ORDER BY digest LIMIT ?',
      after,
      EXPIRED_ROWS_AT_A_TIME,
    );
    const last = page.at(-1)?.digest ?? null;
    if (last === null) return { digests: [], last: null };
    const candidates = allRows<{ digest: Digest }>(
      this.#sql,
      `SELECT m.digest FROM manifests m WHERE m.digest > ?1 AND m.digest <= ?2 AND ${this.#trash.live('m')}
         AND MAX(m.pushed_at, m.generation / ${GENERATIONS_A_MS}) <= ?3
         AND m.digest NOT IN (SELECT value FROM json_each(?4))
         AND NOT EXISTS (SELECT 1 FROM tags t WHERE t.digest = m.digest AND t.generation = m.generation)
         AND NOT EXISTS (SELECT 1 FROM named_by n JOIN manifests p ON p.digest = n.manifest
           WHERE n.digest = m.digest AND p.subject IS NOT m.digest AND ${this.#trash.live('p')})
         AND NOT EXISTS (SELECT 1 FROM manifests s WHERE s.digest = m.subject AND ${this.#trash.live('s')})
       ORDER BY m.digest`,
      after,
      last,
      now - afterMs,
      JSON.stringify(reported),
    );
    const lost = this.#lostAt(candidates.map(({ digest }) => digest));
    // What a time of the window leads to stays.
    const since = now - Math.max(afterMs, this.#undoMs);
    const digests = candidates
      .map(({ digest }) => digest)
      .filter((digest) => (lost.get(digest) ?? 0) <= since);
    if (digests.length > DELETED_AT_A_TIME) {
      const some = digests.slice(0, DELETED_AT_A_TIME);
      return { digests: some, last: some.at(-1) ?? null };
    }
    return { digests, last: page.length < EXPIRED_ROWS_AT_A_TIME ? null : last };
  }

  /** Records a step. `last` is null after the last one: the next run begins a day later. */
  went(last: string | null, deletion: string | null, now: number): void {
    const run: Run =
      last === null ? { at: now + DAY_MS, after: '', deletion: null } : { at: now, after: last, deletion };
    this.#sql.exec('UPDATE repository SET untagged = ?', JSON.stringify(run));
  }

  /** When each digest lost a tag last (Unix time, ms); infinity if a row of the history says that it has one. */
  #lostAt(digests: Digest[]): Map<Digest, number> {
    if (digests.length === 0) return new Map();
    const rows = allRows<{ digest: Digest; at: number; open: number }>(
      this.#sql,
      `SELECT digest, COALESCE(MAX(until), 0) AS at, SUM(until IS NULL) AS open FROM tag_history
       WHERE digest IN (SELECT value FROM json_each(?)) GROUP BY digest`,
      JSON.stringify(digests),
    );
    return new Map(rows.map(({ digest, at, open }) => [digest, open > 0 ? Number.POSITIVE_INFINITY : at]));
  }

  #run(): Run {
    const row = firstRow<{ run: string | null }>(this.#sql, 'SELECT untagged AS run FROM repository');
    return row === null || row.run === null ? { at: 0, after: '', deletion: null } : JSON.parse(row.run);
  }
}
