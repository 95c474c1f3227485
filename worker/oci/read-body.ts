/** Reading small bodies whole, such as forms, JSON documents and manifests. */

/**
 * All bytes of a body; null where it has more than `maxBytes`. `arrived` is awaited before a piece is kept, and may throw. The rest of a longer body stays unread and the stream is not
 * canceled: to cancel the body of a request would end the connection before the client has its answer.
 */
export async function readAtMost(
  body: ReadableStream<Uint8Array> | null,
  maxBytes: number,
  arrived: (bytes: number) => Promise<void> = async () => {},
): Promise<Uint8Array<ArrayBuffer> | null> {
  if (body === null) return new Uint8Array();
  const reader = body.getReader();
  const pieces: Uint8Array[] = [];
  let size = 0;
  try {
    for (let { done, value } = await reader.read(); !done && value; { done, value } = await reader.read()) {
      size += value.length;
      if (size > maxBytes) return null;
      await arrived(value.length);
      pieces.push(value);
    }
  } finally {
    reader.releaseLock();
  }
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}
