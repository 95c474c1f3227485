/** The tables of a repository. docs/storage.md explains them. */
import type { Migration } from '../migrations.ts';

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
        bytes BLOB NOT NULL,        -- at most 1 MiB
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
  {
    // A push writes as few rows as it can: each index costs one, too.
    keepsOlderCode: false,
    sql: `
      -- Tells a manifest from one of the same digest that was deleted before: its tags are only those of the same generation.
      ALTER TABLE manifests ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;
      ALTER TABLE tags ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;
      DROP INDEX tags_digest;
      CREATE INDEX tags_manifest ON tags (digest, generation);
      CREATE TABLE deleted_manifests (
        digest TEXT NOT NULL,
        generation INTEGER NOT NULL,
        at INTEGER NOT NULL,
        PRIMARY KEY (digest, generation)
      ) WITHOUT ROWID;
      CREATE INDEX manifests_artifact_type ON manifests (subject, artifact_type, digest) WHERE subject IS NOT NULL;

      CREATE TABLE tag_moves (
        tag TEXT NOT NULL,
        seq INTEGER NOT NULL,
        digest TEXT,                -- NULL: the tag was deleted
        at INTEGER NOT NULL,
        PRIMARY KEY (tag, seq)
      ) WITHOUT ROWID;
      INSERT INTO tag_moves (tag, seq, digest, at) SELECT tag, id, digest, at FROM tag_history;
      DROP TABLE tag_history;
      ALTER TABLE tag_moves RENAME TO tag_history;

      CREATE TABLE named_by (
        digest TEXT NOT NULL,       -- of a blob or of a manifest
        manifest TEXT NOT NULL,     -- which names it
        PRIMARY KEY (digest, manifest)
      ) WITHOUT ROWID;
      INSERT INTO named_by (digest, manifest) SELECT digest, manifest FROM manifest_references;
      -- Release 0.1.0 left out layers that may be fetched from elsewhere. The blobs of those that are still here stay.
      INSERT OR IGNORE INTO named_by (digest, manifest)
        SELECT b.digest, m.digest FROM manifest_bytes m,
          json_tree(CASE WHEN json_valid(CAST(m.bytes AS TEXT)) THEN CAST(m.bytes AS TEXT) ELSE '{}' END) named
          JOIN blobs b ON b.digest = named.value
        WHERE named.key = 'digest' AND b.expires_at IS NOT NULL;
      CREATE TABLE manifest_names (
        manifest TEXT PRIMARY KEY,
        digests TEXT NOT NULL       -- a JSON list of all digests that it names
      ) WITHOUT ROWID;
      INSERT INTO manifest_names (manifest, digests)
        SELECT manifest, json_group_array(digest) FROM named_by GROUP BY manifest;
      DROP TABLE manifest_references;

      -- blobs.expires_at is from now on when the link ends if no manifest names the blob then, and NULL is long ago.
      CREATE TABLE expiries (
        at INTEGER NOT NULL,        -- when to look whether a manifest names the blob
        digest TEXT NOT NULL,
        PRIMARY KEY (at, digest)
      ) WITHOUT ROWID;
      INSERT INTO expiries (at, digest) SELECT expires_at, digest FROM blobs WHERE expires_at IS NOT NULL;
      DROP INDEX blobs_expires;
      DROP INDEX blobs_link;
      -- NULL in rows of release 0.1.0.
      ALTER TABLE released_links ADD COLUMN key TEXT;
      -- Of a small blob on one machine; NULL where the bytes are in the store.
      ALTER TABLE blobs ADD COLUMN bytes BLOB;
    `,
  },
  {
    keepsOlderCode: true,
    sql: `
      CREATE TABLE abandoned_uploads (
        digest TEXT PRIMARY KEY,    -- that a client wanted to push; the id of the upload if that is not known
        times INTEGER NOT NULL,
        last_at INTEGER NOT NULL,
        user_agent TEXT NOT NULL
      ) WITHOUT ROWID;
    `,
  },
  {
    // An older release would serve what is being deleted, and forget what can be restored.
    keepsOlderCode: false,
    sql: `
      -- JSON: the lifecycle policies that match its name, and their revision. NULL until the catalog has told of them.
      ALTER TABLE repository ADD COLUMN policies TEXT;
      -- When the row says nothing about the present any more: the time of the next move, or of a deletion; NULL while the tag is there.
      ALTER TABLE tag_history ADD COLUMN until INTEGER;
      ALTER TABLE tag_history ADD COLUMN actor TEXT NOT NULL DEFAULT '';
      ALTER TABLE tag_history ADD COLUMN address TEXT NOT NULL DEFAULT '';
      ALTER TABLE tag_history ADD COLUMN why TEXT NOT NULL DEFAULT '';
      ALTER TABLE tag_history ADD COLUMN deletion TEXT;
      -- Of a promotion: the image that it was, such as dev/api:sha-abc.
      ALTER TABLE tag_history ADD COLUMN source TEXT;
      CREATE INDEX tag_history_until ON tag_history (until) WHERE until IS NOT NULL;
      CREATE INDEX tag_history_deletion ON tag_history (deletion, tag) WHERE deletion IS NOT NULL;
      -- The tag and seq of the row after which rows of earlier releases have no until yet; NULL: all have it.
      ALTER TABLE repository ADD COLUMN fill_after TEXT;
      UPDATE repository SET fill_after = '';
      -- When the whole repository was deleted, if nothing was pushed since.
      ALTER TABLE repository ADD COLUMN cleared_at INTEGER;
      -- JSON: where the daily search for untagged manifests stands; NULL before the first.
      ALTER TABLE repository ADD COLUMN untagged TEXT;
      ALTER TABLE deleted_manifests ADD COLUMN deletion TEXT;
      -- When a client deleted the blob, which manifests in the trash name.
      ALTER TABLE blobs ADD COLUMN deleted_at INTEGER;
      CREATE INDEX blobs_deleted ON blobs (deleted_at) WHERE deleted_at IS NOT NULL;
      -- Bytes of blobs that manifests name, and of those that only manifests in the trash name.
      ALTER TABLE repository ADD COLUMN used_bytes INTEGER NOT NULL DEFAULT 0;
      ALTER TABLE repository ADD COLUMN trashed_bytes INTEGER NOT NULL DEFAULT 0;
      ALTER TABLE repository ADD COLUMN tag_count INTEGER NOT NULL DEFAULT 0;
      ALTER TABLE repository ADD COLUMN manifest_count INTEGER NOT NULL DEFAULT 0;
      -- The digest up to which manifests of earlier releases are counted; NULL: all are.
      ALTER TABLE repository ADD COLUMN count_after TEXT;
      UPDATE repository SET count_after = '';
    `,
  },
];

/** Only repositories in which something was deleted have these tables, because a table costs a row in each. */
export const TRASH = `
  CREATE TABLE IF NOT EXISTS deletions (
    id TEXT PRIMARY KEY,          -- in the order of their times
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    address TEXT NOT NULL,
    why TEXT NOT NULL,
    what TEXT NOT NULL,           -- tags, manifests or repository
    names TEXT NOT NULL,          -- JSON: some of what the caller named
    tags INTEGER NOT NULL,        -- how many so far
    manifests INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    undo_until INTEGER NOT NULL,
    state TEXT NOT NULL,          -- deleted, restoring or restored
    restored_after TEXT,          -- JSON: of a deletion that is being restored: where to go on
    is_purged INTEGER NOT NULL DEFAULT 0 -- 1: someone has ended the time in which it can be undone
  ) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS deletions_restoring ON deletions (id) WHERE restored_after IS NOT NULL;
  CREATE INDEX IF NOT EXISTS deletions_undo_until ON deletions (undo_until);
  -- The rows of deleted manifests. Their bytes and names stay where they are.
  CREATE TABLE IF NOT EXISTS trashed_manifests (
    digest TEXT PRIMARY KEY,
    media_type TEXT NOT NULL,
    size INTEGER NOT NULL,
    subject TEXT,
    artifact_type TEXT,
    annotations TEXT,
    pushed_at INTEGER NOT NULL,
    deletion TEXT NOT NULL,
    readable_until INTEGER        -- for a client that pulls it as it was
  ) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS trashed_manifests_deletion ON trashed_manifests (deletion, digest);
  CREATE INDEX IF NOT EXISTS trashed_manifests_subject ON trashed_manifests (subject, digest) WHERE subject IS NOT NULL;
  -- Manifests that are deleted, and whose rows are still to be moved to the trash.
  CREATE TABLE IF NOT EXISTS departures (
    subject TEXT NOT NULL,        -- the untagged referrers of this digest; '' for all manifests
    before INTEGER NOT NULL,      -- only those of earlier generations
    deletion TEXT,                -- NULL: they are not kept
    at INTEGER NOT NULL,
    after TEXT NOT NULL,          -- the digest that was looked at last
    PRIMARY KEY (subject, before)
  ) WITHOUT ROWID;
`;

/**
 * Only repositories with such uploads have it, because a table costs a row in each. An older release answers that such a blob is missing,
 * and the client pushes it again.
 */
export const ARRIVING_BLOBS = `
  CREATE TABLE IF NOT EXISTS arriving_blobs (
    digest TEXT NOT NULL,
    upload TEXT NOT NULL,        -- its id
    draft TEXT NOT NULL,         -- the uuid of the content
    expires_at INTEGER NOT NULL, -- when the upload expires
    PRIMARY KEY (digest, upload)
  ) WITHOUT ROWID;
`;
