/**
 * How bytes become a blob of a repository: a link in the shard first, which is also the record that a push is under way,
 * then the bytes, then the link in the repository. A push that dies in between leaves a link that the shard settles later.
 */

import type { Env } from '../env.ts';
import type { LinkedObject } from '../objects/blob-shard.ts';
import type { Digest } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import { repositoryOf, shardOf } from '../stubs.ts';
import { isLost } from './read-blob.ts';

/** Contents of one digest that may be lost, one after the other. */
const TRIES = 3;

export interface Publication {
  repository: string;
  digest: Digest;
  /** In bytes. */
  size: number;
  /** Where the bytes will be, or are. */
  key: string;
  /** The upload that brings them, which may have been cancelled; null for none. */
  upload: string | null;
}

/**
 * Publishes a blob. `store` puts the bytes under the key, unless the registry has them already, under the key of `object`;
 * it gives false where the client's bytes are not those of the digest. Gives the key that was linked. Throws DIGEST_INVALID,
 * BLOB_UPLOAD_UNKNOWN, UNAVAILABLE.
 */
export async function publish(
  env: Env,
  { repository, digest, size, key, upload }: Publication,
  store: (object: LinkedObject) => Promise<boolean>,
): Promise<string> {
  const shard = shardOf(env, digest);
  const { link, object } = await linkedObject(env, { repository, digest, size, key });
  const held = { link, digest, repository, key: object.key };
  const release = () => shard.release([held]).catch(() => undefined); // If this fails, the shard finds out later.
  try {
    if (!(await store(object))) throw wrongDigest(digest);
  } catch (error) {
    await release();
    throw error;
  }
  // Where the answer to this is lost, the repository may have the link: it must not be let go, the shard will settle it.
  const blob = { digest, key: object.key, size: object.size, link };
  const linked = await repositoryOf(env, repository).linkBlob(repository, blob, upload);
  if (linked) return object.key;
  await release();
  throw new OciError('BLOB_UPLOAD_UNKNOWN');
}

/**
 * A link in the shard, to content that the store has or that the caller is about to store.
 *
 * Throws BLOB_UPLOAD_UNKNOWN where what the caller would store is being deleted.
 * Throws UNAVAILABLE where the store does not say whether it has the content.
 */
async function linkedObject(
  env: Env,
  { repository, digest, size, key }: Omit<Publication, 'upload'>,
): Promise<{ link: string; object: LinkedObject }> {
  for (let tries = 0; tries < TRIES; tries++) {
    const link = crypto.randomUUID();
    const content = { key, size, proven: false };
    const object = await shardOf(env, digest).link({ link, digest, repository, content });
    // What this upload stored was lost and is being deleted: the client begins another.
    if (object === null) throw new OciError('BLOB_UPLOAD_UNKNOWN');
    const isElsewhere = object.stored && object.key !== key;
    if (!isElsewhere || !(await isLost(env, { digest, key: object.key, size: object.size })))
      return { link, object };
    // What the client sends is stored again, and this repository must not keep the link to what is lost.
    await repositoryOf(env, repository).dropLostBlob(digest, object.key);
  }
  throw new OciError('UNAVAILABLE', {
    message: `the store has lost this blob ${TRIES} times: push it again`,
    detail: { digest },
    headers: { 'Retry-After': '1' },
  });
}

/** The content is not that of the digest. */
export function wrongDigest(digest: Digest): OciError {
  return new OciError('DIGEST_INVALID', {
    message: 'the content does not have this digest: nothing was published',
    detail: { digest },
  });
}
