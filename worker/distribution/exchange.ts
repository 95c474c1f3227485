/**
 * What a handler gets and gives: a request whose path is matched, read into typed values, and the headers that the
 * distribution API repeats everywhere.
 */
import type { Digest } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import { parseContentRange } from '../oci/range.ts';
import { parseRepositoryName } from '../oci/reference.ts';
import type { Chunk, Registry, Repository } from '../oci/registry.ts';

export class Exchange {
  readonly request: Request;
  readonly url: URL;
  readonly registry: Registry;
  readonly #params: Record<string, string | undefined>;

  constructor(request: Request, params: Record<string, string | undefined>, registry: Registry) {
    this.request = request;
    this.url = new URL(request.url);
    this.registry = registry;
    this.#params = params;
  }

  get query(): URLSearchParams {
    return this.url.searchParams;
  }

  /** The repository that the path names. Throws NAME_INVALID. */
  get repository(): Repository {
    return this.registry.repository(parseRepositoryName(this.#params.name ?? ''));
  }

  /** A component of the path, with its percent-encoding undone: some clients encode the colon of a digest. */
  param(name: 'digest' | 'reference' | 'id'): string {
    const raw = this.#params[name] ?? '';
    try {
      return decodeURIComponent(raw);
    } catch {
      return raw; // Left as it is, for the parser to refuse.
    }
  }

  header(name: string): string | null {
    return this.request.headers.get(name);
  }

  /** The body as a chunk of an upload. Throws BLOB_UPLOAD_INVALID for a Content-Range that is none. */
  chunk(): Chunk {
    const { body } = this.request;
    const size = body === null ? 0 : this.contentLength();
    return { body: size === 0 ? null : body, size, range: parseContentRange(this.header('Content-Range')) };
  }

  /** In bytes; null where the body's length is known only at its end. */
  contentLength(): number | null {
    const text = this.header('Content-Length');
    if (text === null || this.header('Transfer-Encoding') !== null) return null;
    if (!/^\d{1,15}$/.test(text))
      throw new OciError('SIZE_INVALID', { message: 'Content-Length is not a number' });
    return Number(text);
  }

  /** True where the client has the content of this digest already (`If-None-Match`, by RFC 9110 section 13.1.2). */
  hasAlready(digest: Digest): boolean {
    const header = this.header('If-None-Match');
    if (header === null) return false;
    return header.split(',').some((tag) => {
      const bare = tag.trim().replace(/^W\//, '');
      return bare === '*' || bare === etagOf(digest);
    });
  }

  /** The Range header, unless an If-Range names other content (RFC 9110 section 13.1.5). */
  rangeOf(digest: Digest): string | null {
    const condition = this.header('If-Range');
    return condition === null || condition.trim() === etagOf(digest) ? this.header('Range') : null;
  }
}

export type Handler = (exchange: Exchange) => Promise<Response>;

/** Content that never changes under its digest, and must arrive as it is: some proxies would compress it. */
const IMMUTABLE = 'private, max-age=31536000, immutable, no-transform';
/** A tag may have moved. */
const REVALIDATE = 'private, no-cache, no-transform';

export function etagOf(digest: Digest): string {
  return `"${digest}"`;
}

/** The headers of content, whatever part of it is sent. */
export function contentHeaders(digest: Digest, mediaType: string, byTag = false): Record<string, string> {
  return {
    'Content-Type': mediaType,
    'Docker-Content-Digest': digest,
    ETag: etagOf(digest),
    'Accept-Ranges': 'bytes',
    'Cache-Control': byTag ? REVALIDATE : IMMUTABLE,
  };
}

/** 304 for a client that has the content already. */
export function notModified(headers: Record<string, string>): Response {
  const { 'Content-Type': _, ...rest } = headers;
  return new Response(null, { status: 304, headers: rest });
}
