/** The blob store that is bound: a folder on one machine, or else a bucket. */
import { DiskBlobs } from './blobs/disk.ts';
import { R2Blobs } from './blobs/r2.ts';
import type { BlobStore } from './blobs/store.ts';
import type { Env } from './env.ts';
import type { Digest } from './oci/digest.ts';
import { REDIRECT_MIN_BYTES } from './oci/limits.ts';
import { repositoryOf } from './stubs.ts';

/** On one machine, a blob up to this size is kept beside its link (decision 16). None of these is redirected. */
export const INLINE_MAX_BYTES = REDIRECT_MIN_BYTES - 1;

export function blobStore(env: Env): BlobStore {
  if (env.DISK !== undefined) {
    const inline = (repository: string, digest: Digest) => repositoryOf(env, repository).inlineBytes(digest);
    const inlineMaxBytes = Number(env.INLINE_BLOB_BYTES ?? INLINE_MAX_BYTES);
    return new DiskBlobs(env.DISK, env.SYNC, inline, inlineMaxBytes);
  }
  if (env.BLOBS !== undefined) return new R2Blobs(env.BLOBS);
  throw new Error('neither a bucket (BLOBS) nor a folder (DISK) is bound');
}
