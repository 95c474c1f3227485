// Bodies that are passed on whole: manifests, and forms of the token service.
import type { IncomingMessage } from 'node:http';
import { OciError } from '../../worker/oci/errors.ts';
import { type Body, bodyOf } from '../transfer/http.ts';

/** Memory of all larger bodies together. */
const LARGER_TOGETHER_BYTES = 24 * 1024 * 1024;
/** Most manifests are shorter. They are taken also while larger ones wait for their client. */
const SMALL_BYTES = 64 * 1024;

export class WholeBodies {
  #heldBytes = 0;

  /**
   * Reads the body of a request and runs `use` with it, or with null if the request has none. The body is in memory until `use` ends.
   *
   * Throws SIZE_INVALID if the body has more than `maxBytes`.
   * Throws TOOMANYREQUESTS while other bodies fill the memory.
   */
  async with<T>(
    request: IncomingMessage,
    maxBytes: number,
    use: (body: Body | null) => Promise<T>,
  ): Promise<T> {
    if (request.headers['transfer-encoding'] === undefined && !Number(request.headers['content-length'])) {
      return use(null);
    }
    const pieces: Buffer[] = [];
    let size = 0;
    let held = 0;
    try {
      for await (const piece of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
        size += piece.length;
        if (size > maxBytes) throw tooLarge(maxBytes);
        const more = Math.max(0, size - SMALL_BYTES) - held;
        if (this.#heldBytes + more > LARGER_TOGETHER_BYTES) throw tooMany();
        held += more;
        this.#heldBytes += more;
        pieces.push(piece);
      }
      return await use(bodyOf(Buffer.concat(pieces)));
    } finally {
      this.#heldBytes -= held;
    }
  }
}

function tooLarge(maxBytes: number): OciError {
  return new OciError('SIZE_INVALID', {
    status: 413,
    message: `this proxy takes at most ${maxBytes} bytes in this request`,
  });
}

function tooMany(): OciError {
  return new OciError('TOOMANYREQUESTS', {
    message: 'this proxy has too many large manifests in memory: try again',
    headers: { 'Retry-After': '5' },
  });
}
