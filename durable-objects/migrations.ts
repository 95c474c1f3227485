/**
 * Numbered migrations of the tables of a Durable Object. The version of the tables is a row of its own, so a class knows
 * which migrations are still to run, and code that is older than the tables knows whether it can work with them.
 */
import { TABLES_TOO_NEW } from '../worker/oci/errors.ts';
import { firstRow } from './rows.ts';

/** One step from a version of the tables to the next. Released migrations never change; new ones are appended. */
export interface Migration {
  sql: string;
  /**
   * Whether code that ends one migration earlier still works with the tables after this one. A new table, a new index or a
   * new column with a default keeps it working, because all statements name their columns.
   */
  keepsOlderCode: boolean;
}

interface Version {
  version: number;
  /** The number of migrations that code must know at least to work with these tables. */
  readable_from: number;
}

const VERSION_TABLE = `
  CREATE TABLE IF NOT EXISTS schema_version (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    version INTEGER NOT NULL,      -- the number of migrations that have run
    readable_from INTEGER NOT NULL -- code that knows fewer migrations cannot work with these tables
  )`;

/** The tables were written by a newer release, and this code cannot work with them. */
class TablesTooNew extends Error {
  override readonly name = TABLES_TOO_NEW;
}

/** Whether the object has tables. An object that never wrote anything has none and costs no storage. */
export function hasTables(sql: SqlStorage): boolean {
  const query = `SELECT 1 AS found FROM sqlite_master WHERE type = 'table' AND name NOT GLOB '_cf_*' LIMIT 1`;
  return firstRow(sql, query) !== null;
}

/**
 * Brings the tables up to date, all steps in one transaction. Tables without a version are those of release 0.1.0, which
 * the first migration makes. Throws TablesTooNew.
 */
export function migrate(storage: DurableObjectStorage, migrations: readonly Migration[]): void {
  const { sql } = storage;
  const found = versionOf(sql);
  if (found.version === migrations.length) return;
  if (found.version > migrations.length) {
    if (found.readable_from <= migrations.length) return;
    throw new TablesTooNew(
      `a newer release of Longshore has written this part of the registry (version ${found.version} of its tables, and this release knows ${migrations.length}): deploy that release again`,
    );
  }
  storage.transactionSync(() => {
    sql.exec(VERSION_TABLE);
    let readableFrom = found.readable_from;
    for (const [index, { sql: statements, keepsOlderCode }] of migrations.entries()) {
      if (index < found.version) continue;
      sql.exec(statements);
      if (!keepsOlderCode) readableFrom = index + 1;
    }
    sql.exec(
      'INSERT OR REPLACE INTO schema_version (id, version, readable_from) VALUES (1, ?, ?)',
      migrations.length,
      readableFrom,
    );
  });
}

function versionOf(sql: SqlStorage): Version {
  const none: Version = { version: 0, readable_from: 0 };
  const isThere =
    firstRow(sql, `SELECT 1 AS found FROM sqlite_master WHERE name = 'schema_version'`) !== null;
  if (!isThere) return none;
  const query = 'SELECT version, readable_from FROM schema_version WHERE id = 1';
  return firstRow<Version>(sql, query) ?? none;
}
