/**
 * Ranges: what a download asks for (RFC 9110, section 14) and where a chunk of an upload lies (distribution spec,
 * "Pushing a blob in chunks").
 */
import { OciError } from './errors.ts';
import { RANGES_MAX } from './limits.ts';

/** What a Range header asked for, before the size of the content is known. All in bytes. */
export type RangeRequest = { first: number; last?: number } | { suffix: number };

/** Bytes first to last, inclusive, of some content. */
export interface ByteRange {
  first: number;
  last: number;
}

// Names of units are not case-sensitive. A number larger than any content is valid.
const RANGES = /^bytes=(.*)$/i;
const ONE_RANGE = /^[ \t]*(?:(\d+)-(\d+)?|-(\d+))[ \t]*$/;
const CHUNK = /^(?:bytes )?(\d{1,15})-(\d{1,15})(?:\/(\d{1,15}|\*))?$/;

/**
 * Reads a Range header. Null where the header is missing, has another unit or is malformed: RFC 9110 allows a server to send the whole
 * content then. `bytes=500-0` is a range that no content satisfies.
 */
export function parseRanges(header: string | null): RangeRequest[] | null {
  const list = header === null ? undefined : RANGES.exec(header)?.[1];
  if (list === undefined) return null;
  const ranges: RangeRequest[] = [];
  for (const item of list.split(',')) {
    const match = ONE_RANGE.exec(item);
    if (match === null) return null;
    const [, first, last, suffix] = match;
    if (suffix !== undefined) ranges.push({ suffix: Number(suffix) });
    else ranges.push({ first: Number(first), ...(last === undefined ? {} : { last: Number(last) }) });
  }
  return ranges;
}

/**
 * Fits several ranges to content of a size, in bytes, in the order in which they were asked; those that lie outside are left
 * out. Throws RANGE_INVALID, 416 where none lies inside, and 400 where they are too many or ask for more than there is:
 * clients then ask for the whole.
 */
export function resolveRanges(requests: RangeRequest[], sizeBytes: number): ByteRange[] {
  const ranges = requests.flatMap((request) => {
    const range = fit(request, sizeBytes);
    return range === null ? [] : [range];
  });
  if (ranges.length === 0) throw unsatisfiable(sizeBytes);
  if (ranges.length > 1 && (ranges.length > RANGES_MAX || sum(ranges) > sizeBytes)) {
    throw new OciError('RANGE_INVALID', {
      message: `at most ${RANGES_MAX} ranges at once, and together not more than the content: ask for all of it`,
      status: 400,
    });
  }
  return ranges;
}

export function lengthOf(range: ByteRange): number {
  return range.last - range.first + 1;
}

/** `Content-Range` of a part of content (RFC 9110, section 14.4). */
export function contentRange({ first, last }: ByteRange, sizeBytes: number): string {
  return `bytes ${first}-${last}/${sizeBytes}`;
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

/** Null where the range is outside the content. */
function fit(request: RangeRequest, sizeBytes: number): ByteRange | null {
  const range =
    'suffix' in request
      ? { first: Math.max(0, sizeBytes - request.suffix), last: request.suffix === 0 ? -1 : sizeBytes - 1 }
      : { first: request.first, last: Math.min(request.last ?? sizeBytes - 1, sizeBytes - 1) };
  return range.first > range.last ? null : range;
}

function sum(ranges: ByteRange[]): number {
  return ranges.reduce((bytes, range) => bytes + lengthOf(range), 0);
}

/** A 416 must say how large the content is. */
function unsatisfiable(sizeBytes: number): OciError {
  return new OciError('RANGE_INVALID', {
    message: `the content has ${sizeBytes} bytes, and the range lies outside them`,
    headers: { 'Content-Range': `bytes */${sizeBytes}` },
  });
}
