/** The class of the Catalog object. Repositories tell it of changes after they have answered, so no push or pull waits for it. */
import { DurableObject } from 'cloudflare:workers';
import type { Env } from '../worker/env.ts';
import type { CatalogObject } from '../worker/objects/catalog.ts';
import type { AbandonedUploads } from '../worker/objects/repository.ts';
import type { Listing } from '../worker/oci/page.ts';
import { ABANDONED_UPLOAD_KEPT_MS } from './graces.ts';
import { type Migration, migrate } from './migrations.ts';
import { allRows, pageOf } from './rows.ts';

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
];

/** Repositories with abandoned uploads that are kept: the latest ones. */
const ABANDONED_MAX = 1000;

export class Catalog extends DurableObject<Env> implements CatalogObject {
  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    migrate(ctx.storage, MIGRATIONS);
  }

  announce(name: string, present: boolean, version: number): void {
    this.ctx.storage.sql.exec(
      `INSERT INTO repositories (name, present, version) VALUES (?1, ?2, ?3)
       ON CONFLICT (name) DO UPDATE SET present = ?2, version = ?3 WHERE version < ?3`,
      name,
      present ? 1 : 0,
      version,
    );
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
}
