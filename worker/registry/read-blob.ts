/**
 * Reads the bytes of a blob. If the store has lost them, or has content of another size, the shard of the digest drops them, so that
 * the next client pushes them again. The shard checks itself first, because an error of the store is not a loss.
 */

import { blobStore } from '../blob-store.ts';
import type { Env } from '../env.ts';
import type { StoredBlob } from '../objects/blob-shard.ts';
import { OciError } from '../oci/errors.ts';
import { type ByteRange, lengthOf } from '../oci/range.ts';
import { shardOf } from '../stubs.ts';

export type { StoredBlob } from '../objects/blob-shard.ts';

/**
 * The bytes of a blob, or a range of them.
 *
 * Throws BLOB_UNKNOWN if they are lost.
 * Throws UNAVAILABLE if the store does not answer.
 */
export async function readBlob(
  env: Env,
  blob: StoredBlob,
  range: ByteRange | null,
): Promise<ReadableStream<Uint8Array>> {
  const slice = range === null ? undefined : { offset: range.first, length: lengthOf(range) };
  let error: unknown = null;
  const found = await blobStore(env)
    .get(blob.key, slice)
    .catch((reason: unknown) => {
      error = reason;
      return null;
    });
  if (found !== null && found.size === blob.size) return found.body;
  await found?.body.cancel();
  const lost = await shardOf(env, blob.digest)
    .dropIfLost(blob)
    .catch((reason: unknown) => {
      error ??= reason;
      return false;
    });
  if (!lost) {
    console.error(`the store did not give ${blob.digest} under ${blob.key}`, error);
    throw noAnswer();
  }
  throw new OciError('BLOB_UNKNOWN', {
    message: 'the registry does not have the bytes of this blob any more: push it again',
    detail: { digest: blob.digest },
  });
}

/**
 * Whether content that the shard has a record of is lost. If so, it is dropped.
 *
 * Throws UNAVAILABLE if the store does not answer, which is not a loss.
 */
export async function isLost(env: Env, blob: StoredBlob): Promise<boolean> {
  try {
    if ((await blobStore(env).sizeOf(blob.key)) === blob.size) return false;
    return await shardOf(env, blob.digest).dropIfLost(blob);
  } catch (error) {
    console.error(`could not check whether ${blob.digest} is under ${blob.key}`, error);
    throw noAnswer();
  }
}

function noAnswer(): OciError {
  return new OciError('UNAVAILABLE', {
    message: 'the store did not answer: try again',
    headers: { 'Retry-After': '1' },
  });
}
