/**
 * Answers for content under its digest, from the registry or its blob host: conditions, ranges and headers
 * (RFC 9110, sections 13 to 15).
 */
import type { Digest } from '../oci/digest.ts';
import { type ByteRange, contentRange, lengthOf, parseRanges, resolveRanges } from '../oci/range.ts';

export interface Content {
  digest: Digest;
  mediaType: string;
  /** In bytes. */
  size: number;
  /** `IMMUTABLE` or `REVALIDATE`. */
  cacheControl: string;
  read(range: ByteRange | null): Promise<ReadableStream<Uint8Array> | Uint8Array>;
}

export const BLOB_TYPE = 'application/octet-stream';
/** `no-transform`, because some proxies would compress it. */
export const IMMUTABLE = 'private, max-age=31536000, immutable, no-transform';
/** For content by tag: the tag may point to another manifest later. */
export const REVALIDATE = 'private, no-cache, no-transform';

/** Answers a GET or a HEAD. Nothing is read for a HEAD, nor for a client that has the content. Throws RANGE_INVALID. */
export async function answerWith(request: Request, content: Content): Promise<Response> {
  const { size } = content;
  const { 'Content-Type': type, ...others } = headersOf(content);
  if (hasAlready(request, content.digest)) return new Response(null, { status: 304, headers: others });
  const headers = { ...others, 'Content-Type': type, 'Content-Length': String(size) };
  if (request.method === 'HEAD') return new Response(null, { headers });
  const asked = rangesOf(request, content.digest);
  if (asked === null) return new Response((await content.read(null)) as BodyInit, { headers });
  const ranges = resolveRanges(asked, size);
  const [only] = ranges;
  if (only === undefined || ranges.length > 1) return answerWithParts(content, ranges, others);
  return new Response((await content.read(only)) as BodyInit, {
    status: 206,
    headers: {
      ...headers,
      'Content-Length': String(lengthOf(only)),
      'Content-Range': contentRange(only, size),
    },
  });
}

function etagOf(digest: Digest): string {
  return `"${digest}"`;
}

/** True where the client has the content already (`If-None-Match`, section 13.1.2). */
export function hasAlready(request: Request, digest: Digest): boolean {
  const header = request.headers.get('If-None-Match');
  if (header === null) return false;
  return header.split(',').some((tag) => {
    const bare = tag.trim().replace(/^W\//, '');
    return bare === '*' || bare === etagOf(digest);
  });
}

/** The Range header, unless an If-Range names other content (section 13.1.5). */
export function rangeHeaderOf(request: Request, digest: Digest): string | null {
  const condition = request.headers.get('If-Range');
  return condition === null || condition.trim() === etagOf(digest) ? request.headers.get('Range') : null;
}

function rangesOf(request: Request, digest: Digest) {
  return parseRanges(rangeHeaderOf(request, digest));
}

/** The headers of content, whatever part of it is sent. */
function headersOf({ digest, mediaType, cacheControl }: Content) {
  return {
    'Content-Type': mediaType,
    // A browser that follows a redirect to a blob saves it instead of showing it.
    ...(mediaType === BLOB_TYPE ? { 'Content-Disposition': 'attachment' } : {}),
    'Docker-Content-Digest': digest,
    ETag: etagOf(digest),
    'Accept-Ranges': 'bytes',
    'Cache-Control': cacheControl,
  };
}

/** Several ranges: `multipart/byteranges` (section 14.6), each part read when the one before has gone out. */
async function answerWithParts(
  content: Content,
  ranges: ByteRange[],
  headers: Record<string, string>,
): Promise<Response> {
  const boundary = crypto.randomUUID();
  const heads = ranges.map((range) =>
    new TextEncoder().encode(
      `\r\n--${boundary}\r\nContent-Type: ${content.mediaType}\r\nContent-Range: ${contentRange(range, content.size)}\r\n\r\n`,
    ),
  );
  const end = new TextEncoder().encode(`\r\n--${boundary}--\r\n`);
  // The first part is read before the answer begins, so that an error can still be the answer.
  const [first] = ranges;
  const opening = first === undefined ? end : await content.read(first);
  const length = heads.reduce((bytes, head) => bytes + head.length, end.length) + sumOf(ranges);
  const { readable, writable } = new FixedLengthStream(length);
  const write = async (bytes: Uint8Array) => {
    const writer = writable.getWriter();
    await writer.write(bytes);
    writer.releaseLock();
  };
  const send = async () => {
    for (const [index, range] of ranges.entries()) {
      await write(heads[index] ?? end);
      const part = index === 0 ? opening : await content.read(range);
      if (part instanceof Uint8Array) await write(part);
      else await part.pipeTo(writable, { preventClose: true });
    }
    await write(end);
    await writable.close();
  };
  // If the client closes the connection or the store fails, the body ends early. The client sees it from the length.
  send().catch((error: unknown) => writable.abort(error).catch(() => undefined));
  return new Response(readable, {
    status: 206,
    headers: {
      ...headers,
      'Content-Type': `multipart/byteranges; boundary=${boundary}`,
      'Content-Length': String(length),
    },
  });
}

function sumOf(ranges: ByteRange[]): number {
  return ranges.reduce((bytes, range) => bytes + lengthOf(range), 0);
}
