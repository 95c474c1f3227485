/** The tables of a repository. docs/storage.md explains them. */
import type { Migration } from './migrations.ts';

export const REPOSITORY_MIGRATIONS: Migration[] = [
  {
    keepsOlderCode: true,
    sql: `
      CREATE TABLE IF NOT EXISTS repository (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        name TEXT NOT NULL,
        present INTEGER NOT NULL,   -- 1: it holds something
        version INTEGER NOT NULL,   -- counts the changes of present
        announced INTEGER NOT NULL  -- the version that the catalog has heard of
      );
      CREATE TABLE IF NOT EXISTS tags (
        name TEXT PRIMARY KEY,
        digest TEXT NOT NULL,
        updated_at INTEGER NOT NULL
      ) WITHOUT ROWID;
      CREATE INDEX IF NOT EXISTS tags_digest ON tags (digest);
      CREATE TABLE IF NOT EXISTS tag_history (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        tag TEXT NOT NULL,
        digest TEXT,                -- NULL: the tag was deleted
        at INTEGER NOT NULL
      );
      CREATE INDEX IF NOT EXISTS tag_history_tag ON tag_history (tag, id);
      CREATE TABLE IF NOT EXISTS manifests (
        digest TEXT PRIMARY KEY,
        media_type TEXT NOT NULL,
        size INTEGER NOT NULL,
        subject TEXT,
        artifact_type TEXT,
        annotations TEXT,           -- JSON, of those with a subject
        pushed_at INTEGER NOT NULL
      ) WITHOUT ROWID;
      CREATE INDEX IF NOT EXISTS manifests_subject ON manifests (subject, digest) WHERE subject IS NOT NULL;
      CREATE TABLE IF NOT EXISTS manifest_bytes (
        digest TEXT NOT NULL,
        seq INTEGER NOT NULL,
        bytes BLOB NOT NULL,        -- 1 MiB at the most
        PRIMARY KEY (digest, seq)
      );
      CREATE TABLE IF NOT EXISTS manifest_references (
        manifest TEXT NOT NULL,
        digest TEXT NOT NULL,       -- of a blob or of another manifest
        PRIMARY KEY (manifest, digest)
      ) WITHOUT ROWID;
      CREATE INDEX IF NOT EXISTS manifest_references_digest ON manifest_references (digest);
      CREATE TABLE IF NOT EXISTS blobs (
        digest TEXT PRIMARY KEY,
        key TEXT NOT NULL,
        size INTEGER NOT NULL,
        link TEXT NOT NULL,
        expires_at INTEGER          -- when its link goes: set while no manifest references it
      ) WITHOUT ROWID;
      CREATE INDEX IF NOT EXISTS blobs_link ON blobs (link);
      CREATE INDEX IF NOT EXISTS blobs_expires ON blobs (expires_at) WHERE expires_at IS NOT NULL;
      CREATE TABLE IF NOT EXISTS released_links (
        link TEXT PRIMARY KEY,
        digest TEXT NOT NULL        -- whose shard has not yet been told
      ) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS refusals (
        id TEXT PRIMARY KEY,        -- a link id that was settled without us, or an upload that was cancelled
        expires_at INTEGER NOT NULL
      ) WITHOUT ROWID;
      CREATE INDEX IF NOT EXISTS refusals_expires ON refusals (expires_at);
    `,
  },
];
