/** What the platform binds to the Worker and to its Durable Objects, in either home. */
import type { AccountsObject } from './objects/accounts.ts';
import type { AuditLogObject } from './objects/audit-log.ts';
import type { BlobShardObject } from './objects/blob-shard.ts';
import type { CatalogObject } from './objects/catalog.ts';
import type { RepositoryObject } from './objects/repository.ts';
import type { UploadSessionObject } from './objects/upload-session.ts';

export interface Env {
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
  /** Beside it: the service that syncs files of that folder. What is bound as DISK without it syncs by its own means. */
  SYNC?: Fetcher;
  /** On one machine: the folder of the objects' files, to look at only. */
  STATE?: Fetcher;
  /** On one machine: set where the registry before this one did not end in order. */
  DISTURBED?: string;
  /** On one machine: how many files workerd may have open. */
  OPEN_FILES?: string;
  /** Beside it, for measurements and tests: blobs up to this size, in bytes, are kept beside their links. */
  INLINE_BLOB_BYTES?: string;
  /** On one machine, which platform this is (`platform.ts`). */
  PLATFORM?: string;
  /** The names that this machine is reached by, separated by commas; `*` is every address. `npm start` sets it. */
  BOUND_NAMES?: string;
  /** URLs of the registry, separated by commas: what its answers call it. docs/access.md. */
  PUBLIC_URL?: string;
  /** `redirect`, `presigned` or `stream`: how blobs reach a client. These and the following are told in docs/delivery.md. */
  BLOB_DELIVERY?: string;
  /** Host of an R2 custom domain. */
  BLOB_HOST?: string;
  /** Secrets of signed URLs, separated by commas: the first signs, all are accepted. */
  BLOB_URL_SECRETS?: string;
  /** In seconds. */
  BLOB_URL_LIFETIME?: string;
  /** Parts of User-Agent headers, separated by commas. */
  STREAM_USER_AGENTS?: string;
  S3_BUCKET_URL?: string;
  S3_ACCESS_KEY_ID?: string;
  S3_SECRET_ACCESS_KEY?: string;
  /** `true`, or how many blobs of a manifest. */
  PREFETCH?: string;
  /** How long what the registry answered is kept at the edge, in seconds; 0 for not at all. */
  CACHE_LIFETIME?: string;
  /** `off` on loopback lets everybody do everything. These and the following are told in docs/access.md. */
  AUTH?: string;
  /** Of the user `admin`. */
  ADMIN_PASSWORD?: string;
  /** The contents of an htpasswd file, with bcrypt hashes. */
  HTPASSWD?: string;
  /** A role, or `none`. */
  HTPASSWD_ROLE?: string;
  /** In seconds. */
  TOKEN_LIFETIME?: string;
  /** Networks, separated by commas. */
  TRUSTED_PROXIES?: string;
  /** How long the audit log keeps events, in days. */
  AUDIT_DAYS?: string;
  /** How many rows the audit log keeps. */
  AUDIT_ROWS_MAX?: string;
  /** Sign-in of people. */
  OIDC_ISSUER?: string;
  OIDC_CLIENT_ID?: string;
  OIDC_CLIENT_SECRET?: string;
  OIDC_GROUPS_CLAIM?: string;
  /** What the names of groups that come from the issuer begin with. */
  OIDC_GROUPS_PREFIX?: string;
  /** In seconds. */
  SIGN_IN_TOKEN_LIFETIME?: string;
  /** "true" takes issuers of OpenID Connect on private addresses. */
  ALLOW_PRIVATE_ISSUERS?: string;
  /** On Cloudflare, where it is bound: counts requests. */
  REQUEST_LIMIT?: RateLimit | string;
  /** "true" takes manifests whose references are not there. */
  SPARSE_MANIFESTS?: string;
}
