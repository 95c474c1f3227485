/**
 * Publishes the bytes of a push as a blob of a repository. The shard writes a link first, which records that a push is running. Then
 * the bytes are stored, and then the repository writes the link. If a push fails in between, the shard settles its link later.
 */

import type { Env } from '../env.ts';
import type { LinkedObject } from '../objects/blob-shard.ts';
import type { Digest } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import { repositoryOf, shardOf } from '../stubs.ts';
import { isLost } from './read-blob.ts';

/** Lost contents of one digest that one push may find. */
const TRIES = 3;

export interface Publication {
  repository: string;
  digest: Digest;
  /** In bytes. */
  size: number;
  /** The storage key of the bytes. */
  key: string;
  /** The upload that brings the bytes, and may be cancelled meanwhile; null if its session checks that. */
  upload: string | null;
}

/**
 * Publishes a blob. `store` stores the bytes under the key, unless the registry has them already under the key of `object`. It returns
 * false if the client's bytes have another digest. Returns the storage key that was linked.
 *
 * Throws DIGEST_INVALID if the bytes have another digest.
 * Throws BLOB_UPLOAD_UNKNOWN if the upload was cancelled, or its bytes are being deleted.
 * Throws UNAVAILABLE if the store does not answer.
 */
export async function publish(
  env: Env,
  { repository, digest, size, key, upload }: Publication,
  store: (object: LinkedObject) => Promise<boolean>,
): Promise<string> {
  const shard = shardOf(env, digest);
  const { link, object } = await linkedObject(env, { repository, digest, size, key });
  const held = { link, digest, repository, key: object.key };
  const release = () => shard.release([held]).catch(() => undefined); // If this fails, the shard settles the link later.
  try {
    if (!(await store(object))) throw wrongDigest(digest);
  } catch (error) {
    await release();
    throw error;
  }
  // If the answer to this is lost, the repository may have the link. So it is not released; the shard settles it.
  const blob = { digest, key: object.key, size: object.size, link };
  const linked = await repositoryOf(env, repository).linkBlob(repository, blob, upload);
  if (linked) return object.key;
  await release();
  throw new OciError('BLOB_UPLOAD_UNKNOWN');
}

/**
 * Writes a link in the shard, to content that the store has or that the caller is about to store.
 *
 * Throws BLOB_UPLOAD_UNKNOWN if the content of the caller is being deleted.
 * Throws UNAVAILABLE if the store does not answer.
 */
async function linkedObject(
  env: Env,
  { repository, digest, size, key }: Omit<Publication, 'upload'>,
): Promise<{ link: string; object: LinkedObject }> {
  for (let tries = 0; tries < TRIES; tries++) {
    const link = crypto.randomUUID();
    const content = { key, size, proven: false };
    const object = await shardOf(env, digest).link({ link, digest, repository, content });
    // What this upload stored was lost and is being deleted. The client must start a new upload.
    if (object === null) throw new OciError('BLOB_UPLOAD_UNKNOWN');
    const isElsewhere = object.stored && object.key !== key;
    if (!isElsewhere || !(await isLost(env, { digest, key: object.key, size: object.size })))
      return { link, object };
    // The client's bytes will be stored again. The repository must not keep a link to the lost content.
    await repositoryOf(env, repository).dropLostBlob(digest, object.key);
  }
  throw new OciError('UNAVAILABLE', {
    message: `the store has lost this blob ${TRIES} times: push it again`,
    detail: { digest },
    headers: { 'Retry-After': '1' },
  });
}

/** The error for content with another digest. */
export function wrongDigest(digest: Digest): OciError {
  return new OciError('DIGEST_INVALID', {
    message: 'the content does not have this digest: nothing was published',
    detail: { digest },
  });
}
