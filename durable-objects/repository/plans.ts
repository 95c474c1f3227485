/** The plans of a repository, as rows. Every method is one step of a transaction that `Repository` opens. */
import type { Plan, PlannedTag, PlanState } from '../../worker/lifecycle/plan.ts';
import { firstRow } from '../rows.ts';

/** Tags in one row: far below the 2 MB that a row may have. */
export const TAGS_OF_A_ROW = 500;
/** Plans that are remembered. */
const PLANS_KEPT = 20;

/** Only repositories with retention policies have these tables. */
const TABLES = `
  CREATE TABLE IF NOT EXISTS retention_due (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    at INTEGER                 -- when the tags are judged next; NULL at once
  );
  CREATE TABLE IF NOT EXISTS plans (
    id TEXT PRIMARY KEY,       -- in the order of their times
    state TEXT NOT NULL,
    made_at INTEGER NOT NULL,
    apply_at INTEGER NOT NULL,
    tags INTEGER NOT NULL,
    of INTEGER NOT NULL,
    manifests INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    approval TEXT,
    deleted INTEGER NOT NULL,
    kept INTEGER NOT NULL,
    deletion TEXT,
    actor TEXT NOT NULL
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS plan_tags (
    seq INTEGER PRIMARY KEY,   -- of the latest plan
    tags TEXT NOT NULL         -- JSON: up to 500 tags, with what says why
  );
`;

const COLUMNS =
  'id, state, made_at AS madeAt, apply_at AS applyAt, tags, of, manifests, bytes, approval, deleted, kept, deletion, actor';
const OPEN: PlanState[] = ['making', 'counting', 'waiting', 'approval', 'applying'];

export class Plans {
  readonly #sql: SqlStorage;
  #hasTables: boolean | null = null;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  exists(): boolean {
    const query = `SELECT 1 AS found FROM sqlite_master WHERE name = 'plans'`;
    this.#hasTables ??= firstRow(this.#sql, query) !== null;
    return this.#hasTables;
  }

  create(): void {
    if (!this.exists()) this.#sql.exec(TABLES);
    this.#hasTables = true;
  }

  /** When the tags are to be judged next (Unix time, ms); null for at once. */
  dueAt(): number | null {
    if (!this.exists()) return null;
    return firstRow<{ at: number | null }>(this.#sql, 'SELECT at FROM retention_due')?.at ?? null;
  }

  setDue(at: number | null): void {
    this.create();
    this.#sql.exec('INSERT OR REPLACE INTO retention_due (id, at) VALUES (1, ?)', at);
  }

  latest(): Plan | null {
    if (!this.exists()) return null;
    return firstRow<Plan>(this.#sql, `SELECT ${COLUMNS} FROM plans ORDER BY id DESC LIMIT 1`);
  }

  /** The plan that is not at its end. */
  open(): Plan | null {
    const plan = this.latest();
    return plan !== null && OPEN.includes(plan.state) ? plan : null;
  }

  /** Begins a plan. The tags of the one before are forgotten. */
  begin(id: string, now: number): void {
    this.create();
    this.#sql.exec('DELETE FROM plan_tags');
    this.#sql.exec(
      `DELETE FROM plans WHERE state = 'making' OR id IN (SELECT id FROM plans ORDER BY id DESC LIMIT -1 OFFSET ?)`,
      PLANS_KEPT - 1,
    );
    this.#sql.exec(
      `INSERT INTO plans (id, state, made_at, apply_at, tags, of, manifests, bytes, deleted, kept, actor)
       VALUES (?1, 'making', ?2, ?2, 0, 0, 0, 0, 0, 0, '')`,
      id,
      now,
    );
  }

  addTags(seq: number, tags: PlannedTag[]): void {
    this.#sql.exec('INSERT INTO plan_tags (seq, tags) VALUES (?, ?)', seq, JSON.stringify(tags));
  }

  /** Up to TAGS_OF_A_ROW tags of the latest plan; empty after the last. */
  tags(seq: number): PlannedTag[] {
    if (!this.exists()) return [];
    const row = firstRow<{ tags: string }>(this.#sql, 'SELECT tags FROM plan_tags WHERE seq = ?', seq);
    return row === null ? [] : (JSON.parse(row.tags) as PlannedTag[]);
  }

  /** Up to `count` tags of the latest plan, after as many others. */
  page(after: number, count: number): PlannedTag[] {
    const found: PlannedTag[] = [];
    for (let at = after; found.length < count; ) {
      const row = this.tags(Math.floor(at / TAGS_OF_A_ROW)).slice(at % TAGS_OF_A_ROW);
      if (row.length === 0) break;
      found.push(...row.slice(0, count - found.length));
      at += row.length;
    }
    return found;
  }

  update(plan: Plan): void {
    this.#sql.exec(
      `UPDATE plans SET state = ?2, apply_at = ?3, tags = ?4, of = ?5, manifests = ?6, bytes = ?7, approval = ?8,
         deleted = ?9, kept = ?10, deletion = ?11, actor = ?12 WHERE id = ?1`,
      plan.id,
      plan.state,
      plan.applyAt,
      plan.tags,
      plan.of,
      plan.manifests,
      plan.bytes,
      plan.approval,
      plan.deleted,
      plan.kept,
      plan.deletion,
      plan.actor,
    );
  }

  /** The tables are gone, or a transaction that made them was undone. */
  forget(): void {
    this.#hasTables = null;
  }
}
