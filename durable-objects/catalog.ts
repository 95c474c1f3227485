/** The class of the Catalog object. Repositories tell it of changes after they have answered, so no push or pull waits for it. */
import { DurableObject } from 'cloudflare:workers';
import type { Env } from '../worker/env.ts';
import type { CatalogObject } from '../worker/objects/catalog.ts';
import type { Listing } from '../worker/oci/page.ts';
import { type Migration, migrate } from './migrations.ts';

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
];

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
