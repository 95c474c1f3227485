// Reads a blob to its end, also over lost connections, and checks its digest.
import type { Hash } from 'node:crypto';
import { encodedOf } from '../../worker/oci/digest.ts';
import { CommandFailure, EXIT } from '../failure.ts';
import { Backoff } from './backoff.ts';
import { ConnectionLost } from './http.ts';
import type { SourceBlob } from './source.ts';

/** Attempts without a byte of progress. */
const ATTEMPTS_MAX = 10;

export interface DownloadOptions {
  readonly signal?: AbortSignal | undefined;
  /** Gets a sentence for each lost connection. */
  readonly note: (message: string) => void;
}

/**
 * The bytes of a blob from an offset. `hash` has hashed those before it.
 *
 * Throws a CommandFailure at the end if the bytes do not have the digest, or if the connection is lost again and again.
 */
export async function* download(
  blob: SourceBlob,
  offset: number,
  hash: Hash,
  { signal, note }: DownloadOptions,
): AsyncGenerator<Uint8Array> {
  const { digest, size } = blob.descriptor;
  const backoff = new Backoff(() => ATTEMPTS_MAX);
  for (let at = offset; at < size; ) {
    const before = at;
    try {
      for await (const piece of blob.open(at, size)) {
        signal?.throwIfAborted();
        hash.update(piece);
        at += piece.length;
        if (at > size) break;
        yield piece;
      }
      if (at !== size) throw new ConnectionLost(`${digest} has ended after ${at} of ${size} bytes`);
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof ConnectionLost) || at > size) throw error;
      if (at > before) backoff.reset();
      if (backoff.isSpent(null)) {
        throw new CommandFailure(
          `The connection failed while ${digest} was read: ${error.message}.\nCheck the network, then run the same command again: it continues.`,
          EXIT.network,
        );
      }
      note(`${error.message}; continuing at byte ${at}`);
      await backoff.wait(null, signal);
    }
  }
  if (hash.digest('hex') === encodedOf(digest)) return;
  throw new CommandFailure(
    `The registry sent other bytes than ${digest} has.\nIts copy, or something between, is damaged. Push the image again, or read it from another registry.`,
  );
}
