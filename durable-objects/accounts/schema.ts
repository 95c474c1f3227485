/** The tables of `Accounts`. Lists of grants and conditions are JSON, because they are always read and written whole. */
import type { Migration } from '../migrations.ts';

export const ACCOUNTS_MIGRATIONS: Migration[] = [
  {
    keepsOlderCode: true,
    sql: `
      CREATE TABLE IF NOT EXISTS keys (purpose TEXT PRIMARY KEY, bytes BLOB NOT NULL) WITHOUT ROWID;

      CREATE TABLE IF NOT EXISTS signing_keys (
        kid TEXT PRIMARY KEY,
        private_jwk TEXT NOT NULL,
        public_jwk TEXT NOT NULL,
        signs_from INTEGER NOT NULL -- until then it is only published
      ) WITHOUT ROWID;

      CREATE TABLE IF NOT EXISTS users (
        name TEXT PRIMARY KEY,
        password TEXT,           -- a hash; NULL for one that signs in elsewhere
        groups TEXT NOT NULL,
        disabled INTEGER NOT NULL,
        created_at INTEGER NOT NULL
      ) WITHOUT ROWID;

      CREATE TABLE IF NOT EXISTS tokens (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        owner TEXT,              -- a user; NULL for a robot
        hash TEXT NOT NULL,
        grants TEXT NOT NULL,
        expires_at INTEGER,
        last_used_at INTEGER,
        created_at INTEGER NOT NULL
      ) WITHOUT ROWID;
      CREATE INDEX IF NOT EXISTS tokens_owner ON tokens (owner, name);

      -- Ids are never used again: whatever names one that is gone names nothing.
      CREATE TABLE IF NOT EXISTS rules (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        subject TEXT NOT NULL,
        role TEXT NOT NULL,
        repositories TEXT NOT NULL,
        tags TEXT
      );
      CREATE INDEX IF NOT EXISTS rules_subject ON rules (subject);

      CREATE TABLE IF NOT EXISTS policies (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        policy TEXT NOT NULL
      );

      CREATE TABLE IF NOT EXISTS trusts (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        issuer TEXT NOT NULL,
        audience TEXT NOT NULL,
        conditions TEXT NOT NULL,
        grants TEXT NOT NULL,
        jwks TEXT
      );
      CREATE INDEX IF NOT EXISTS trusts_issuer ON trusts (issuer);

      CREATE TABLE IF NOT EXISTS failed_logins (
        kind TEXT NOT NULL,      -- pair, address or account; what does not count for it is empty
        account TEXT NOT NULL,
        address TEXT NOT NULL,
        failures INTEGER NOT NULL,
        wait_until INTEGER NOT NULL,
        expires_at INTEGER NOT NULL, -- when all of its failures are forgotten
        PRIMARY KEY (kind, account, address)
      ) WITHOUT ROWID;
      CREATE INDEX IF NOT EXISTS failed_logins_expiry ON failed_logins (expires_at);

      CREATE TABLE IF NOT EXISTS consumed (
        id TEXT PRIMARY KEY,
        expires_at INTEGER NOT NULL
      ) WITHOUT ROWID;
      CREATE INDEX IF NOT EXISTS consumed_expiry ON consumed (expires_at);
    `,
  },
  {
    keepsOlderCode: true,
    sql: `
      CREATE TABLE access_revision (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        revision INTEGER NOT NULL, -- the number of the last change of who may log in
        floor INTEGER NOT NULL     -- tokens of an earlier revision are refused
      );
      CREATE TABLE revocations (
        subject TEXT PRIMARY KEY,
        revision INTEGER NOT NULL, -- tokens of the subject that are of an earlier revision are refused
        expires_at INTEGER NOT NULL
      ) WITHOUT ROWID;
      CREATE INDEX revocations_expiry ON revocations (expires_at);
    `,
  },
  {
    // Older code shows the names of users' tokens with their owner, and knows no links: it signs people in by their names.
    keepsOlderCode: true,
    sql: `
      CREATE TABLE sign_ins (
        mark TEXT PRIMARY KEY,     -- a hash of issuer and subject
        user TEXT NOT NULL,
        display_name TEXT NOT NULL -- what the issuer called the person last
      ) WITHOUT ROWID;
      CREATE INDEX sign_ins_user ON sign_ins (user);
      INSERT OR IGNORE INTO sign_ins (mark, user, display_name)
        SELECT password, name, name FROM users WHERE password LIKE 'oidc$%' ORDER BY created_at;
      UPDATE tokens SET name = owner || '/' || name WHERE owner IS NOT NULL;
    `,
  },
  {
    keepsOlderCode: true,
    sql: `
      -- JSON of the groups that the issuer told last, with their prefix; NULL where that is not known
      ALTER TABLE sign_ins ADD COLUMN groups TEXT;
    `,
  },
  {
    keepsOlderCode: true,
    sql: `
      -- A user's token by the name without its owner
      CREATE INDEX tokens_own_name ON tokens (substr(name, length(owner) + 2), name) WHERE owner IS NOT NULL;
    `,
  },
];
