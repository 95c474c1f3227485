// Layers of archives that are compressed already. Their config states the digest of the bytes inside, which clients check after a pull.
import { createHash } from 'node:crypto';
import { pipeline, Readable, type Transform } from 'node:stream';
import zlib from 'node:zlib';
import { type Digest, digestFrom } from '../../../worker/oci/digest.ts';
import { CommandFailure } from '../../failure.ts';
import type { Content } from '../upload.ts';
import { wrongDigest } from './content.ts';
import { sourceFailure } from './failure.ts';

/** `name` and `source` are for messages. */
interface CompressedLayer {
  readonly content: Content;
  readonly form: 'gzip' | 'zstd';
  readonly diffId: Digest;
  readonly name: string;
  readonly source: string;
}

/**
 * The digest of the bytes as they are. Node without zstd cannot check what is in a layer of zstd.
 *
 * Throws a CommandFailure if the layer is damaged, or has other bytes inside than `diffId`.
 */
export async function digestOfLayer({
  content,
  form,
  diffId,
  name,
  source,
}: CompressedLayer): Promise<Digest> {
  const compressed = createHash('sha256');
  const pieces = async function* () {
    for await (const piece of content.open(0, content.size)) {
      compressed.update(piece);
      // The stream reads ahead.
      yield Buffer.from(piece);
    }
  };
  const transform = uncompressor(form);
  if (transform === null) {
    for await (const _ of pieces());
    return digestFrom('sha256', compressed.digest());
  }
  const plain = createHash('sha256');
  try {
    const input = Readable.from(pieces(), { objectMode: false });
    // The error of either one destroys the other. The loop gets it.
    pipeline(input, transform, () => {});
    for await (const piece of transform as AsyncIterable<Uint8Array>) plain.update(piece);
  } catch (error) {
    if (error instanceof CommandFailure) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw sourceFailure(
      `The layer ${JSON.stringify(name.slice(0, 200))} in ${source} cannot be uncompressed: ${reason}.\nIt is damaged: write the archive again.`,
    );
  }
  if (digestFrom('sha256', plain.digest()) !== diffId) throw wrongDigest(diffId, source);
  return digestFrom('sha256', compressed.digest());
}

function uncompressor(form: 'gzip' | 'zstd'): Transform | null {
  if (form === 'gzip') return zlib.createGunzip();
  return zlib.createZstdDecompress === undefined ? null : zlib.createZstdDecompress();
}
