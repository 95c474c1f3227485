/** The tables of the uploads. docs/storage.md explains them. */
import type { Migration } from '../migrations.ts';

export const UPLOAD_SESSION_MIGRATIONS: Migration[] = [
  {
    keepsOlderCode: true,
    sql: `
      CREATE TABLE IF NOT EXISTS session (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        draft TEXT NOT NULL,      -- the key under which the bytes are being written
        multipart TEXT,           -- R2's id of the multipart upload, once there is one
        offset INTEGER NOT NULL,  -- bytes received and kept
        next_part INTEGER NOT NULL,
        hash TEXT,                -- digest of all bytes up to the offset
        hash_state BLOB,          -- what lets another isolate go on hashing
        sealed TEXT,              -- the digest of the final PUT
        cancelled INTEGER NOT NULL DEFAULT 0
      );
      CREATE TABLE IF NOT EXISTS parts (number INTEGER PRIMARY KEY, size INTEGER NOT NULL, etag TEXT NOT NULL);
      CREATE TABLE IF NOT EXISTS tail (seq INTEGER PRIMARY KEY, bytes BLOB NOT NULL);
    `,
  },
  {
    // Release 0.1.0 has an object for each upload, and never opens one of several.
    keepsOlderCode: false,
    sql: `
      CREATE TABLE uploads (
        id TEXT PRIMARY KEY,         -- '' for the upload of release 0.1.0 after which the object is named
        draft TEXT NOT NULL,         -- the uuid of the content
        multipart TEXT,              -- R2's id of the multipart upload, once there is one
        offset INTEGER NOT NULL,     -- bytes received and kept
        tail_bytes INTEGER NOT NULL, -- bytes behind the last part
        next_part INTEGER NOT NULL,
        hash TEXT,                   -- digest of all bytes up to the offset
        hash_state BLOB,             -- what lets another isolate go on hashing
        sealed TEXT,                 -- the digest of the final PUT
        state TEXT NOT NULL,         -- open, sealed, published, superseded or cancelled
        ends_at INTEGER NOT NULL     -- when the upload is forgotten
      ) WITHOUT ROWID;
      CREATE TABLE upload_parts (
        upload TEXT NOT NULL,
        number INTEGER NOT NULL,
        size INTEGER NOT NULL,
        etag TEXT NOT NULL,
        PRIMARY KEY (upload, number)
      ) WITHOUT ROWID;
      CREATE TABLE upload_tails (
        upload TEXT NOT NULL,
        seq INTEGER NOT NULL,
        bytes BLOB NOT NULL,         -- at most TAIL_ROW_BYTES
        PRIMARY KEY (upload, seq)
      ) WITHOUT ROWID;
      INSERT INTO uploads (id, draft, multipart, offset, tail_bytes, next_part, hash, hash_state, sealed, state, ends_at)
        SELECT '', draft, multipart, offset, (SELECT COALESCE(SUM(LENGTH(bytes)), 0) FROM tail), next_part, hash,
          hash_state, sealed,
          CASE WHEN sealed IS NOT NULL THEN 'sealed' WHEN cancelled = 1 THEN 'cancelled' ELSE 'open' END, 0
        FROM session;
      INSERT INTO upload_parts (upload, number, size, etag) SELECT '', number, size, etag FROM parts;
      DROP TABLE session;
      DROP TABLE parts;
      DROP TABLE tail;
    `,
  },
  {
    // What most uploads have is in their own row: each row more is written once and deleted once.
    keepsOlderCode: false,
    sql: `
      ALTER TABLE uploads ADD COLUMN parts TEXT NOT NULL DEFAULT '[]'; -- the latest, [[number, size, etag], ...]
      ALTER TABLE uploads ADD COLUMN tail BLOB; -- the first bytes behind the last part, at most TAIL_ROW_BYTES
      CREATE TABLE upload_part_lists (
        upload TEXT NOT NULL,
        first INTEGER NOT NULL,      -- the number of the first part in it
        parts TEXT NOT NULL,
        PRIMARY KEY (upload, first)
      ) WITHOUT ROWID;
      INSERT INTO upload_part_lists (upload, first, parts)
        SELECT upload, MIN(number), json_group_array(json_array(number, size, etag)) FROM upload_parts GROUP BY upload;
      DROP TABLE upload_parts;
      UPDATE uploads SET tail = (SELECT bytes FROM upload_tails t WHERE t.upload = uploads.id AND t.seq = 0);
      DELETE FROM upload_tails WHERE seq = 0;
    `,
  },
  {
    // `direct` is the announced size of an upload whose bytes the client stores itself. An older release commits such an upload as an
    // empty one, and refuses it.
    keepsOlderCode: true,
    sql: 'ALTER TABLE uploads ADD COLUMN direct INTEGER;',
  },
];
