/** How to reach each Durable Object. Only this file knows their names. */

import QuickLRU from 'quick-lru';
import type { Env } from './env.ts';
import type { AccountsObject } from './objects/accounts.ts';
import type { AuditLogObject } from './objects/audit-log.ts';
import type { BlobShardObject } from './objects/blob-shard.ts';
import type { CatalogObject } from './objects/catalog.ts';
import { DURABLE_OBJECTS } from './objects/classes.ts';
import type { RepositoryObject } from './objects/repository.ts';
import type { UploadSessionObject } from './objects/upload-session.ts';
import { type Digest, encodedOf } from './oci/digest.ts';
import { OciError } from './oci/errors.ts';
import { platformOf } from './platform.ts';

/** On one machine: the files that an object keeps open (the database, its log and the index of the log), and for how long. */
const OBJECT_FILES = 3;
const OBJECT_AWAKE_MS = 15_000;
/** The values of a byte, in hexadecimal. */
const BYTES = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));
/** Objects that an isolate remembers to exist. */
const OBJECTS_KNOWN = 25_000;

/**
 * An object as its callers see it: each method returns a promise. `DurableObjectStub` has the same methods, but its answers are also
 * typed as stubs for pipelined calls. We make no such calls, and those types would need casts.
 */
export type Stub<T> = {
  [Method in Exclude<keyof T, keyof Rpc.DurableObjectBranded>]: T[Method] extends (
    ...args: infer Args
  ) => infer Answer
    ? (...args: Args) => Promise<Awaited<Answer>>
    : never;
};

/** For requests that write. On one machine, calling an object creates its files. */
export function repositoryOf(env: Env, name: string): Stub<RepositoryObject> {
  wake(env, `repository ${name}`);
  return env.REPOSITORY.getByName(name);
}

/** Ask this before a read: whether the repository has ever stored something. Always true on Cloudflare. */
export function hasRepository(env: Env, name: string): Promise<boolean> {
  return hasFile(env, `${DURABLE_OBJECTS.REPOSITORY.uniqueKey}/${env.REPOSITORY.idFromName(name)}.sqlite`);
}

/**
 * There are 256 sessions, by the first byte of the upload's uuid. Uploads share them, because creating the tables of an object writes
 * rows. On one machine there is one.
 */
export function sessionOf(env: Env, uploadId: string): Stub<UploadSessionObject> {
  return env.UPLOAD_SESSION.getByName(platformOf(env).isSingleIsolate ? 'all' : uploadId.slice(0, 2));
}

/**
 * There are 256 shards, by the first byte of the digest. On one machine there is one, because one thread serves all of them and each
 * would need its own open files.
 */
export function shardNameOf(env: Env, digest: Digest): string {
  return platformOf(env).isSingleIsolate ? 'all' : encodedOf(digest).slice(0, 2);
}

/** All sessions. */
export function sessionNames(env: Env): string[] {
  return platformOf(env).isSingleIsolate ? ['all'] : BYTES;
}

export function sessionNamed(env: Env, name: string): Stub<UploadSessionObject> {
  return env.UPLOAD_SESSION.getByName(name);
}

/** All shards. */
export function shardNames(env: Env): string[] {
  return platformOf(env).isSingleIsolate ? ['all'] : BYTES;
}

export function shardNamed(env: Env, name: string): Stub<BlobShardObject> {
  return env.BLOB_SHARD.getByName(name);
}

/** The only shard on one machine. */
export function shardOfMachine(env: Env): Stub<BlobShardObject> {
  return env.BLOB_SHARD.getByName('all');
}

export function shardOf(env: Env, digest: Digest): Stub<BlobShardObject> {
  return env.BLOB_SHARD.getByName(shardNameOf(env, digest));
}

export function catalogOf(env: Env): Stub<CatalogObject> {
  return env.CATALOG.getByName('catalog');
}

export function accountsOf(env: Env): Stub<AccountsObject> {
  return env.ACCOUNTS.getByName('accounts');
}

export function auditLogOf(env: Env): Stub<AuditLogObject> {
  return env.AUDIT.getByName('audit');
}

/** Files of objects that exist. A file is not deleted before the next start, so this stays right. */
const found = new QuickLRU<string, true>({ maxSize: OBJECTS_KNOWN });

/**
 * Whether an object has stored something. On one machine, calling an object creates three files, so the folder is checked instead. On
 * Cloudflare a call stores nothing, so the answer is true and the object itself is called.
 */
async function hasFile({ STATE }: Env, path: string): Promise<boolean> {
  if (STATE === undefined || found.has(path)) return true;
  const { status } = await STATE.fetch(`http://state/${path}`, { method: 'HEAD' });
  if (status === 404) return false;
  if (status !== 200) throw new Error(`the folder of the objects answered ${status} for ${path}`);
  found.set(path, true);
  return true;
}

/** Objects whose files are open -> when they were last called (Unix time, ms), in the order of these times. */
const awake = new Map<string, number>();

/**
 * Records a call to an object. On one machine, an object keeps its files open until it has been idle for OBJECT_AWAKE_MS. All objects
 * together may use half of the file descriptors, so that the process can still accept connections.
 *
 * Throws UNAVAILABLE if too many objects are in use.
 */
function wake({ OPEN_FILES }: Env, object: string): void {
  if (OPEN_FILES === undefined) return;
  const now = Date.now();
  for (const [other, askedAt] of awake) {
    if (askedAt > now - OBJECT_AWAKE_MS && askedAt <= now) break;
    awake.delete(other);
  }
  if (!awake.has(object) && (awake.size + 1) * OBJECT_FILES > Number(OPEN_FILES) / 2) {
    throw new OciError('UNAVAILABLE', {
      message: 'too many repositories are in use at once: try again in a few seconds',
      headers: { 'Retry-After': String(Math.ceil(OBJECT_AWAKE_MS / 1000)) },
    });
  }
  awake.delete(object);
  awake.set(object, now);
}
