/**
 * Ranges: what a download asks for (RFC 9110, section 14) and where a chunk of an upload lies (distribution spec,
 * "Pushing a blob in chunks").
 */
import { OciError } from './errors.ts';

/** What a Range header asked for, before the size of the content is known. All in bytes. */
export type RangeRequest = { first: number; last?: number } | { suffix: number };

/** Bytes first to last, inclusive, of some content. */
export interface ByteRange {
  first: number;
  last: number;
}

// Names of units know no case, and a number may be larger than any content: it is then a range all the same.
const ONE_RANGE = /^bytes=\s*(?:(\d+)-(\d+)?|-(\d+))\s*$/i;
const CHUNK = /^(?:bytes )?(\d{1,15})-(\d{1,15})(?:\/(\d{1,15}|\*))?$/;

/**
 * Reads a Range header. Null where there is none to honour: no header, another unit, several ranges or nonsense, for which
 * RFC 9110 lets a server answer with the whole. `bytes=500-0` is a range, but one that nothing satisfies.
 */
export function parseRange(header: string | null): RangeRequest | null {
  const match = header === null ? null : ONE_RANGE.exec(header);
  if (match === null) return null;
  const [, first, last, suffix] = match;
  if (suffix !== undefined) return { suffix: Number(suffix) };
  return last === undefined ? { first: Number(first) } : { first: Number(first), last: Number(last) };
}

/** Fits a request to content of a size, in bytes. Throws RANGE_INVALID with the Content-Range that a 416 must carry. */
export function resolveRange(request: RangeRequest, sizeBytes: number): ByteRange {
  const range =
    'suffix' in request
      ? { first: Math.max(0, sizeBytes - request.suffix), last: request.suffix === 0 ? -1 : sizeBytes - 1 }
      : { first: request.first, last: Math.min(request.last ?? sizeBytes - 1, sizeBytes - 1) };
  if (range.first > range.last) {
    throw new OciError('RANGE_INVALID', {
      message: `the content has ${sizeBytes} bytes, and the range lies outside them`,
      headers: { 'Content-Range': `bytes */${sizeBytes}` },
    });
  }
  return range;
}

export function lengthOf(range: ByteRange): number {
  return range.last - range.first + 1;
}

/**
 * Reads the Content-Range of a chunk: `<first>-<last>`, inclusive; `bytes 0-9/10`, which some clients send, means the same.
 * Null where there is no header. Throws BLOB_UPLOAD_INVALID.
 */
export function parseContentRange(header: string | null): ByteRange | null {
  if (header === null) return null;
  const match = CHUNK.exec(header.trim());
  const range = match === null ? null : { first: Number(match[1]), last: Number(match[2]) };
  const total = match?.[3] ?? '*'; // RFC 9110, section 14.4: the last byte lies within it.
  if (range === null || range.first > range.last || (total !== '*' && Number(total) <= range.last)) {
    throw new OciError('BLOB_UPLOAD_INVALID', {
      message: 'Content-Range is "<first>-<last>": the offsets of the first and the last byte of the chunk',
      detail: { contentRange: header.slice(0, 128) },
      status: 400,
    });
  }
  return range;
}
