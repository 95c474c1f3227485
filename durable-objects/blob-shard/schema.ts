/** The tables of a shard. docs/storage.md explains them. */
import type { Migration } from '../migrations.ts';

export const BLOB_SHARD_MIGRATIONS: Migration[] = [
  {
    keepsOlderCode: true,
    sql: `
      CREATE TABLE IF NOT EXISTS objects (
        key TEXT PRIMARY KEY,
        digest TEXT NOT NULL,
        size INTEGER NOT NULL,
        stored INTEGER NOT NULL, -- 1: a repository has had a link to it, so the bytes are there and are what they should be
        delete_at INTEGER,       -- when its bytes go: set while no link holds it
        deleting INTEGER NOT NULL DEFAULT 0
      ) WITHOUT ROWID;
      CREATE INDEX IF NOT EXISTS objects_digest ON objects (digest);
      CREATE INDEX IF NOT EXISTS objects_delete ON objects (delete_at) WHERE delete_at IS NOT NULL;
      CREATE TABLE IF NOT EXISTS links (
        id TEXT PRIMARY KEY,
        key TEXT NOT NULL,
        repository TEXT NOT NULL,
        confirm_at INTEGER       -- when to settle it with the repository; NULL once that is done
      ) WITHOUT ROWID;
      CREATE INDEX IF NOT EXISTS links_key ON links (key);
      CREATE INDEX IF NOT EXISTS links_confirm ON links (confirm_at) WHERE confirm_at IS NOT NULL;
    `,
  },
  {
    // Every question names the digest, so the primary keys answer them all, and a push writes no rows of other indexes.
    keepsOlderCode: false,
    sql: `
      CREATE TABLE objects_by_digest (
        digest TEXT NOT NULL,
        key TEXT NOT NULL,
        size INTEGER NOT NULL,
        stored INTEGER NOT NULL, -- 1: a repository has had a link to it, so the bytes are there and are what they should be
        delete_at INTEGER,       -- when its bytes are deleted: set while no link holds it
        deleting INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (digest, key)
      ) WITHOUT ROWID;
      INSERT INTO objects_by_digest (digest, key, size, stored, delete_at, deleting)
        SELECT digest, key, size, stored, delete_at, deleting FROM objects;
      CREATE TABLE links_by_digest (
        digest TEXT NOT NULL,
        key TEXT NOT NULL,
        repository TEXT NOT NULL,
        id TEXT NOT NULL,
        confirm_at INTEGER,      -- when to settle it with the repository; NULL once that is done
        PRIMARY KEY (digest, key, repository, id)
      ) WITHOUT ROWID;
      INSERT INTO links_by_digest (digest, key, repository, id, confirm_at)
        SELECT o.digest, l.key, l.repository, l.id, l.confirm_at FROM links l JOIN objects o ON o.key = l.key;
      DROP TABLE links;
      DROP TABLE objects;
      ALTER TABLE objects_by_digest RENAME TO objects;
      ALTER TABLE links_by_digest RENAME TO links;
      CREATE INDEX objects_delete ON objects (delete_at) WHERE delete_at IS NOT NULL;
      CREATE INDEX links_confirm ON links (confirm_at) WHERE confirm_at IS NOT NULL;
    `,
  },
  {
    // Pushes that fail leave contents that never came: they must not hide what is there.
    keepsOlderCode: true,
    sql: 'CREATE INDEX objects_stored ON objects (digest) WHERE stored = 1;',
  },
  {
    keepsOlderCode: true,
    sql: `
      CREATE TABLE unverified (
        check_at INTEGER NOT NULL, -- when its bytes are compared with the digest
        digest TEXT NOT NULL,
        key TEXT NOT NULL,
        PRIMARY KEY (check_at, digest, key)
      ) WITHOUT ROWID;
    `,
  },
];
