/** Which Durable Object holds what: the one place that names them. */
import type { Env } from '../worker/env.ts';
import { type Digest, encodedOf } from '../worker/oci/digest.ts';
import type { Accounts } from './accounts.ts';
import type { AuditLog } from './audit-log.ts';
import type { BlobShard } from './blob-shard.ts';
import type { Catalog } from './catalog.ts';
import type { Repository } from './repository.ts';
import type { UploadSession } from './upload-session.ts';

export function repositoryOf(env: Env, name: string): DurableObjectStub<Repository> {
  return env.REPOSITORY.getByName(name);
}

export function sessionOf(env: Env, uploadId: string): DurableObjectStub<UploadSession> {
  return env.UPLOAD_SESSION.getByName(uploadId);
}

/**
 * 256 shards, by the first byte of the digest. On one machine, where one thread serves them all, there is one: 256 would only
 * be 256 files to open.
 */
export function shardNameOf(env: Env, digest: Digest): string {
  return env.HOME === 'machine' ? 'all' : encodedOf(digest).slice(0, 2);
}

export function shardOf(env: Env, digest: Digest): DurableObjectStub<BlobShard> {
  return env.BLOB_SHARD.getByName(shardNameOf(env, digest));
}

export function catalogOf(env: Env): DurableObjectStub<Catalog> {
  return env.CATALOG.getByName('catalog');
}

export function accountsOf(env: Env): DurableObjectStub<Accounts> {
  return env.ACCOUNTS.getByName('accounts');
}

export function auditLogOf(env: Env): DurableObjectStub<AuditLog> {
  return env.AUDIT.getByName('audit');
}
