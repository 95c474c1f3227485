/** The class of the Catalog object. Repositories tell it of changes after they have answered, so no push or pull waits for it. */
import { DurableObject } from 'cloudflare:workers';
import type { Env } from '../worker/env.ts';
import type { EffectivePolicies, LifecyclePolicy } from '../worker/lifecycle/policy.ts';
import type { CatalogObject, NewLifecyclePolicy, Reach, ReportedImage } from '../worker/objects/catalog.ts';
import type { AbandonedUploads } from '../worker/objects/repository.ts';
import type { Digest } from '../worker/oci/digest.ts';
import type { Listing } from '../worker/oci/page.ts';
import type { Pattern } from '../worker/oci/pattern.ts';
import { repositoryOf } from '../worker/stubs.ts';
import { Alarm } from './alarm.ts';
import { ABANDONED_UPLOAD_KEPT_MS } from './graces.ts';
import { LIFECYCLE_TABLES, LifecyclePolicies } from './lifecycle-policies.ts';
import { type Migration, migrate } from './migrations.ts';
import { allRows, firstRow, pageOf } from './rows.ts';

const MIGRATIONS: Migration[] = [
  {
    keepsOlderCode: true,
    sql: `
      CREATE TABLE IF NOT EXISTS repositories (
        name TEXT PRIMARY KEY,
        present INTEGER NOT NULL, -- 0: emptied; the row stays so that an older message is known as such
        version INTEGER NOT NULL
      ) WITHOUT ROWID;
      CREATE INDEX IF NOT EXISTS repositories_present ON repositories (name) WHERE present = 1;
    `,
  },
  {
    keepsOlderCode: true,
    sql: `
      CREATE TABLE abandoned_uploads (
        repository TEXT PRIMARY KEY,
        count INTEGER NOT NULL,
        last_at INTEGER NOT NULL,
        user_agent TEXT NOT NULL
      ) WITHOUT ROWID;
      CREATE INDEX abandoned_uploads_last_at ON abandoned_uploads (last_at);
    `,
  },
  { keepsOlderCode: true, sql: LIFECYCLE_TABLES },
  {
    keepsOlderCode: true,
    sql: `
      CREATE TABLE background_rows (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        day INTEGER NOT NULL,  -- since 1970, UTC
        rows INTEGER NOT NULL  -- that large deletions have written on that day
      );
    `,
  },
];

/** Repositories with abandoned uploads that are kept: the latest ones. */
const ABANDONED_MAX = 1000;
/** Every repository keeps those that match its name. */
const LIFECYCLE_POLICIES_MAX = 500;
const DAY_MS = 24 * 3600 * 1000;

export class Catalog extends DurableObject<Env> implements CatalogObject {
  readonly #lifecycle: LifecyclePolicies;
  readonly #alarm: Alarm;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    migrate(ctx.storage, MIGRATIONS);
    this.#lifecycle = new LifecyclePolicies(ctx.storage.sql);
    this.#alarm = new Alarm(ctx, {
      run: () => this.#spread(),
      nextDue: (now) => (this.#lifecycle.isSpreading() ? now : null),
    });
    this.#alarm.check();
  }

  announce(name: string, present: boolean, version: number, revision?: number): EffectivePolicies | null {
    this.ctx.storage.sql.exec(
      `INSERT INTO repositories (name, present, version) VALUES (?1, ?2, ?3)
       ON CONFLICT (name) DO UPDATE SET present = ?2, version = ?3 WHERE version < ?3`,
      name,
      present ? 1 : 0,
      version,
    );
    // A repository of an earlier release asks for no policies.
    const isCurrent = revision === undefined || revision >= this.#lifecycle.revision();
    return isCurrent ? null : this.#lifecycle.of(name);
  }

  policiesOf(name: string): EffectivePolicies {
    return this.#lifecycle.of(name);
  }

  listLifecycle(): LifecyclePolicy[] {
    return this.#lifecycle.list();
  }

  createLifecycle(policy: NewLifecyclePolicy): Promise<LifecyclePolicy | null> {
    return this.#changing(() =>
      this.#lifecycle.list().length < LIFECYCLE_POLICIES_MAX ? this.#lifecycle.create(policy) : null,
    );
  }

  replaceLifecycle(id: string, policy: NewLifecyclePolicy): Promise<LifecyclePolicy | null> {
    return this.#changing(() => this.#lifecycle.replace(id, policy));
  }

  deleteLifecycle(id: string): Promise<LifecyclePolicy | null> {
    return this.#changing(() => this.#lifecycle.delete(id));
  }

  reach(pattern: Pattern): Reach {
    return this.#lifecycle.reach(pattern);
  }

  reportRunning(source: string, images: ReportedImage[]): boolean {
    return this.ctx.storage.transactionSync(() => this.#lifecycle.report(source, images, Date.now()));
  }

  runningOf(name: string): Digest[] {
    return this.#lifecycle.running(name, Date.now());
  }

  override async alarm(): Promise<void> {
    await this.#alarm.ring();
  }

  announceAbandoned(name: string, uploads: AbandonedUploads | null): void {
    const { sql } = this.ctx.storage;
    this.ctx.storage.transactionSync(() => {
      sql.exec('DELETE FROM abandoned_uploads WHERE last_at <= ?', Date.now() - ABANDONED_UPLOAD_KEPT_MS);
      if (uploads === null) {
        sql.exec('DELETE FROM abandoned_uploads WHERE repository = ?', name);
        return;
      }
      sql.exec(
        'INSERT OR REPLACE INTO abandoned_uploads (repository, count, last_at, user_agent) VALUES (?, ?, ?, ?)',
        name,
        uploads.count,
        uploads.lastAt,
        uploads.userAgent,
      );
      sql.exec(
        `DELETE FROM abandoned_uploads WHERE repository IN
           (SELECT repository FROM abandoned_uploads ORDER BY last_at DESC LIMIT -1 OFFSET ?)`,
        ABANDONED_MAX,
      );
    });
  }

  listAbandoned(count: number, last: string | null): Listing<AbandonedUploads & { repository: string }> {
    const rows = allRows<AbandonedUploads & { repository: string }>(
      this.ctx.storage.sql,
      `SELECT repository, count, last_at AS lastAt, user_agent AS userAgent FROM abandoned_uploads
       WHERE repository > ? AND last_at > ? ORDER BY repository LIMIT ?`,
      last ?? '',
      Date.now() - ABANDONED_UPLOAD_KEPT_MS,
      count + 1,
    );
    return pageOf(rows, count);
  }

  takeAllowance(rows: number, rowsPerDay: number): boolean {
    const { sql } = this.ctx.storage;
    const day = Math.floor(Date.now() / DAY_MS);
    const known = firstRow<{ day: number; rows: number }>(sql, 'SELECT day, rows FROM background_rows');
    const taken = known?.day === day ? known.rows : 0;
    if (taken > 0 && taken + rows > rowsPerDay) return false;
    sql.exec('INSERT OR REPLACE INTO background_rows (id, day, rows) VALUES (1, ?, ?)', day, taken + rows);
    return true;
  }

  list(count: number, last: string | null): Listing<string> {
    const rows = this.ctx.storage.sql
      .exec<{ name: string }>(
        'SELECT name FROM repositories WHERE present = 1 AND name > ? ORDER BY name LIMIT ?',
        last ?? '',
        count + 1,
      )
      .toArray();
    return { entries: rows.slice(0, count).map((row) => row.name), more: rows.length > count };
  }

  listAll(count: number, last: string | null): Listing<string> {
    const query = 'SELECT name FROM repositories WHERE name > ? ORDER BY name LIMIT ?';
    const rows = allRows<{ name: string }>(this.ctx.storage.sql, query, last ?? '', count + 1);
    return pageOf(
      rows.map(({ name }) => name),
      count,
    );
  }

  /** Sets the alarm before writing: an alarm with nothing to do is harmless. */
  async #changing<T>(change: () => T): Promise<T> {
    await this.#alarm.ringBy(Date.now());
    return this.ctx.storage.transactionSync(change);
  }

  /** Tells some repositories of their policies. If one cannot be told, the alarm repeats the step. */
  async #spread(): Promise<void> {
    if (!this.#lifecycle.isSpreading()) return;
    const revision = this.#lifecycle.revision();
    const { names, told } = this.#lifecycle.next();
    await Promise.all(
      names.map((name) => repositoryOf(this.env, name).setPolicies(this.#lifecycle.of(name))),
    );
    this.#lifecycle.advance(revision, told);
  }
}
