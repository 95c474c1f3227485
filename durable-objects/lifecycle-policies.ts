/**
 * The lifecycle policies of the registry, and which repositories have been told of their latest change. Every method is one step of a
 * transaction that `Catalog` opens.
 */
import { type EffectivePolicies, type LifecyclePolicy, policiesOf } from '../worker/lifecycle/policy.ts';
import type { NewLifecyclePolicy, ReportedImage } from '../worker/objects/catalog.ts';
import type { Digest } from '../worker/oci/digest.ts';
import { matches, type Pattern } from '../worker/oci/pattern.ts';
import { REPORT_KEPT_MS, REPORT_RENEWED_MS } from './graces.ts';
import { allRows, firstRow } from './rows.ts';

/** Repositories that are told of a change in one step. A request on the Free plan makes at most 50 calls. */
const TOLD_AT_ONCE = 40;
/** Reports of running images that are kept. */
const REPORTED_MAX = 50_000;
/** Names that one step looks at. */
const NAMES_AT_ONCE = 2000;

export const LIFECYCLE_TABLES = `
  CREATE TABLE lifecycle_policies (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    policy TEXT NOT NULL      -- JSON, without the id
  );
  CREATE TABLE lifecycle_changes (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    revision INTEGER NOT NULL, -- counts the changes of policies
    patterns TEXT NOT NULL,    -- JSON: the repositories whose policies have changed
    told TEXT                  -- the repositories up to this name have been told; NULL if all have been
  );
  INSERT INTO lifecycle_changes (id, revision, patterns, told) VALUES (1, 0, '[]', NULL);
  CREATE TABLE running (
    repository TEXT NOT NULL,
    digest TEXT NOT NULL,
    source TEXT NOT NULL,      -- the cluster or host that reports it
    reported_at INTEGER NOT NULL,
    PRIMARY KEY (repository, digest, source)
  ) WITHOUT ROWID;
`;

interface Changes {
  revision: number;
  patterns: Pattern[];
  told: string | null;
}

export class LifecyclePolicies {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  /** By id, in the order of their creation. */
  list(): LifecyclePolicy[] {
    const rows = allRows<{ id: number; policy: string }>(
      this.#sql,
      'SELECT id, policy FROM lifecycle_policies ORDER BY id',
    );
    return rows.map(({ id, policy }) => asPolicy(id, policy));
  }

  of(repository: string): EffectivePolicies {
    return { revision: this.#changes().revision, policies: policiesOf(this.list(), repository) };
  }

  revision(): number {
    return this.#changes().revision;
  }

  create(policy: NewLifecyclePolicy): LifecyclePolicy {
    const query = 'INSERT INTO lifecycle_policies (policy) VALUES (?) RETURNING id';
    const { id } = this.#sql.exec<{ id: number }>(query, JSON.stringify(policy)).one();
    this.#change([policy.repositories]);
    return asPolicy(id, JSON.stringify(policy));
  }

  /** Null if there is no policy of this id. */
  replace(id: string, policy: NewLifecyclePolicy): LifecyclePolicy | null {
    const before = this.#get(id);
    if (before === null) return null;
    this.#sql.exec('UPDATE lifecycle_policies SET policy = ? WHERE id = ?', JSON.stringify(policy), id);
    this.#change([before.repositories, policy.repositories]);
    return asPolicy(Number(id), JSON.stringify(policy));
  }

  delete(id: string): LifecyclePolicy | null {
    const before = this.#get(id);
    if (before === null) return null;
    this.#sql.exec('DELETE FROM lifecycle_policies WHERE id = ?', id);
    this.#change([before.repositories]);
    return before;
  }

  /** Whether repositories are still to be told of a change. */
  isSpreading(): boolean {
    return this.#changes().told !== null;
  }

  /** The repositories that are told next, and the name up to which all will then have been told: null after the last step. */
  next(): { names: string[]; told: string | null } {
    const { patterns, told } = this.#changes();
    const rows = allRows<{ name: string }>(
      this.#sql,
      'SELECT name FROM repositories WHERE present = 1 AND name > ? ORDER BY name LIMIT ?',
      told ?? '',
      NAMES_AT_ONCE,
    );
    const names: string[] = [];
    for (const { name } of rows) {
      if (!patterns.some((pattern) => matches(pattern, name))) continue;
      names.push(name);
      if (names.length === TOLD_AT_ONCE) return { names, told: name };
    }
    return { names, told: rows.length < NAMES_AT_ONCE ? null : (rows.at(-1)?.name ?? null) };
  }

  /** Records a step. Does nothing if the policies have changed since `revision`: then the steps begin again. */
  advance(revision: number, told: string | null): void {
    this.#sql.exec(
      `UPDATE lifecycle_changes SET told = ?1, patterns = CASE WHEN ?1 IS NULL THEN '[]' ELSE patterns END
       WHERE revision = ?2`,
      told,
      revision,
    );
  }

  /** How many repositories a pattern matches, and how many of these are still to be told of a change. */
  reach(pattern: Pattern): { repositories: number; following: number } {
    const { patterns, told } = this.#changes();
    let repositories = 0;
    let following = 0;
    const rows = this.#sql.exec<{ name: string }>('SELECT name FROM repositories WHERE present = 1');
    for (const { name } of rows) {
      if (!matches(pattern, name)) continue;
      repositories++;
      if (told !== null && name > told && patterns.some((one) => matches(one, name))) following++;
    }
    return { repositories, following };
  }

  /** Records images that a source runs. A report that is repeated soon writes nothing. False if there are too many. */
  report(source: string, images: ReportedImage[], now: number): boolean {
    this.#sql.exec('DELETE FROM running WHERE reported_at < ?', now - REPORT_KEPT_MS);
    const row = firstRow<{ rows: number }>(this.#sql, 'SELECT COUNT(*) AS rows FROM running');
    if ((row?.rows ?? 0) + images.length > REPORTED_MAX) return false;
    for (const { repository, digest } of images) {
      this.#sql.exec(
        `INSERT INTO running (repository, digest, source, reported_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET reported_at = ?4 WHERE reported_at NOT BETWEEN ?5 AND ?4`,
        repository,
        digest,
        source,
        now,
        now - REPORT_RENEWED_MS,
      );
    }
    return true;
  }

  running(repository: string, now: number): Digest[] {
    const rows = allRows<{ digest: Digest }>(
      this.#sql,
      'SELECT DISTINCT digest FROM running WHERE repository = ? AND reported_at >= ?',
      repository,
      now - REPORT_KEPT_MS,
    );
    return rows.map(({ digest }) => digest);
  }

  #get(id: string): LifecyclePolicy | null {
    const query = 'SELECT id, policy FROM lifecycle_policies WHERE id = ?';
    const row = firstRow<{ id: number; policy: string }>(this.#sql, query, id);
    return row === null ? null : asPolicy(row.id, row.policy);
  }

  /** The repositories are told from the first name on. Those of a change that has not reached all yet are told with them. */
  #change(patterns: Pattern[]): void {
    const all = new Set([...this.#changes().patterns, ...patterns]);
    this.#sql.exec(
      `UPDATE lifecycle_changes SET revision = revision + 1, patterns = ?, told = ''`,
      JSON.stringify([...all]),
    );
  }

  #changes(): Changes {
    const query = 'SELECT revision, patterns, told FROM lifecycle_changes';
    const row = firstRow<{ revision: number; patterns: string; told: string | null }>(this.#sql, query);
    if (row === null) return { revision: 0, patterns: [], told: null };
    return { ...row, patterns: JSON.parse(row.patterns) as Pattern[] };
  }
}

function asPolicy(id: number, policy: string): LifecyclePolicy {
  return { ...(JSON.parse(policy) as NewLifecyclePolicy), id: String(id) };
}
