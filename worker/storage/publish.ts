/**
 * How bytes become a blob of a repository: a link in the shard first, which is also the record that a push is under way,
 * then the bytes, then the link in the repository. A push that dies in between leaves a link that the shard settles later.
 */
import { repositoryOf, shardOf } from '../../durable-objects/address.ts';
import type { LinkedObject } from '../../durable-objects/blob-shard.ts';
import type { Env } from '../env.ts';
import type { Digest } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';

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
 * BLOB_UPLOAD_UNKNOWN.
 */
export async function publish(
  env: Env,
  { repository, digest, size, key, upload }: Publication,
  store: (object: LinkedObject) => Promise<boolean>,
): Promise<string> {
  const link = crypto.randomUUID();
  const shard = shardOf(env, digest);
  const object = await shard.link({ link, digest, repository, content: { key, size, proven: false } });
  if (object === null) throw new Error('the shard took no link');
  const held = { link, digest, repository, key: object.key };
  const letGo = () => shard.release([held]).catch(() => undefined); // If this fails, the shard finds out later.
  try {
    if (!(await store(object))) throw wrongDigest(digest);
  } catch (fault) {
    await letGo();
    throw fault;
  }
  // Where the answer to this is lost, the repository may have the link: it must not be let go, the shard will settle it.
  const blob = { digest, key: object.key, size: object.size, link };
  const linked = await repositoryOf(env, repository).linkBlob(repository, blob, upload);
  if (linked) return object.key;
  await letGo();
  throw new OciError('BLOB_UPLOAD_UNKNOWN');
}

/** The content is not that of the digest. */
export function wrongDigest(digest: Digest): OciError {
  return new OciError('DIGEST_INVALID', {
    message: 'the content does not have this digest: nothing was published',
    detail: { digest },
  });
}
