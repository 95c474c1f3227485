/**
 * The classes of Durable Objects, by the name of their binding. workerd's configuration and the tests are made from this list, and
 * a test compares wrangler.toml with it.
 *
 * A unique key names the folder of a class's SQLite files on one machine, and every object's id contains it. A change of one
 * loses the state that is kept under it.
 */
export const DURABLE_OBJECTS = {
  REPOSITORY: { className: 'Repository', uniqueKey: 'longshore-repository' },
  UPLOAD_SESSION: { className: 'UploadSession', uniqueKey: 'longshore-upload-session' },
  BLOB_SHARD: { className: 'BlobShard', uniqueKey: 'longshore-blob-shard' },
  CATALOG: { className: 'Catalog', uniqueKey: 'longshore-catalog' },
  ACCOUNTS: { className: 'Accounts', uniqueKey: 'longshore-accounts' },
  AUDIT: { className: 'AuditLog', uniqueKey: 'longshore-audit-log' },
} as const;

export type DurableObjectBinding = keyof typeof DURABLE_OBJECTS;
