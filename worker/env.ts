/** What the Worker and its Durable Objects are bound to, in either home. */
import type { AccountsObject } from './objects/accounts.ts';
import type { AuditLogObject } from './objects/audit-log.ts';
import type { BlobShardObject } from './objects/blob-shard.ts';
import type { CatalogObject } from './objects/catalog.ts';
import type { RepositoryObject } from './objects/repository.ts';
import type { UploadSessionObject } from './objects/upload-session.ts';
import type { SettingTexts } from './settings.ts';

/** What the platform binds. */
interface Bindings {
  REPOSITORY: DurableObjectNamespace<RepositoryObject>;
  UPLOAD_SESSION: DurableObjectNamespace<UploadSessionObject>;
  BLOB_SHARD: DurableObjectNamespace<BlobShardObject>;
  CATALOG: DurableObjectNamespace<CatalogObject>;
  ACCOUNTS: DurableObjectNamespace<AccountsObject>;
  AUDIT: DurableObjectNamespace<AuditLogObject>;
  /** On Cloudflare: the bucket of the blobs. */
  BLOBS?: R2Bucket;
  /** On one machine: workerd's disk service on the folder of the blobs. */
  DISK?: Fetcher;
  /** On one machine: the service that syncs files of that folder. Without it, DISK syncs them itself. */
  SYNC?: Fetcher;
  /** On one machine: the folder of the Durable Objects' files, read-only. */
  STATE?: Fetcher;
  /** On one machine: set if the registry before this one did not stop cleanly. */
  DISTURBED?: string;
  /** On one machine: how many files workerd may have open. */
  OPEN_FILES?: string;
  /** On one machine, for measurements and tests: the largest blob, in bytes, that is stored beside its link. */
  INLINE_BLOB_BYTES?: string;
  /** For tests: the largest request body that reaches the Worker, in bytes. */
  BODY_LIMIT_BYTES?: string;
  /** On one machine: the name of the platform (`platform.ts`). */
  PLATFORM?: string;
  /** On one machine: the names of this registry, separated by commas; `*` for every address. `npm start` sets it. */
  BOUND_NAMES?: string;
  /** On Cloudflare: the rate limiting binding, under the name that the setting has on one machine. */
  REQUEST_LIMIT?: RateLimit | string;
}

/** The bindings, and the texts that an operator sets, which only settings.ts reads. */
export type Env = Bindings & Omit<SettingTexts, 'REQUEST_LIMIT'>;
