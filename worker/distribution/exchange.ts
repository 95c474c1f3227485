/** What a handler gets: the request, with typed values of its path, query and headers. */
import type { Guard } from '../auth/guard.ts';
import type { BlobDelivery } from '../delivery/delivery.ts';
import type { Prefetch } from '../delivery/prefetch.ts';
import { OciError } from '../oci/errors.ts';
import { parseContentRange } from '../oci/range.ts';
import { parseRepositoryName } from '../oci/reference.ts';
import type { Chunk, Registry, Repository } from '../oci/registry.ts';
import type { DirectGrants } from '../s3/direct-grants.ts';

/** What the endpoints need. */
export interface Services {
  guard: Guard;
  delivery: BlobDelivery;
  prefetch: Prefetch;
  /** Null where clients cannot store bytes themselves. */
  direct: DirectGrants | null;
  /** The same for clients that know nothing of it; null unless the operator has allowed that. */
  directForAll: DirectGrants | null;
}

export class Exchange {
  readonly request: Request;
  readonly services: Services;
  /** The registry with the access of this request. */
  readonly registry: Registry;
  readonly #params: Record<string, string | undefined>;
  #url: URL | null = null;

  constructor(
    request: Request,
    params: Record<string, string | undefined>,
    services: Services,
    registry: Registry,
  ) {
    this.request = request;
    this.services = services;
    this.registry = registry;
    this.#params = params;
  }

  get url(): URL {
    this.#url ??= new URL(this.request.url);
    return this.#url;
  }

  get query(): URLSearchParams {
    return this.url.searchParams;
  }

  /** The repository that the path names. Throws NAME_INVALID. */
  get repository(): Repository {
    return this.registry.repository(parseRepositoryName(this.#params.name ?? ''));
  }

  /** A component of the path, without percent-encoding: some clients encode the colon of a digest. */
  param(name: 'digest' | 'reference' | 'id'): string {
    const raw = this.#params[name] ?? '';
    try {
      return decodeURIComponent(raw);
    } catch {
      return raw; // The parser refuses it.
    }
  }

  header(name: string): string | null {
    return this.request.headers.get(name);
  }

  /** The body as a chunk of an upload. Throws BLOB_UPLOAD_INVALID for a malformed Content-Range. */
  chunk(): Chunk {
    const { body } = this.request;
    const size = body === null ? 0 : this.contentLength();
    const range = parseContentRange(this.header('Content-Range'));
    const sender = this.services.guard.senderOf(this.request);
    return { body: size === 0 ? null : body, size, range, sender };
  }

  /** In bytes; null where the body's length is known only at its end. */
  contentLength(): number | null {
    const text = this.header('Content-Length');
    if (text === null || this.header('Transfer-Encoding') !== null) return null;
    if (!/^\d{1,15}$/.test(text))
      throw new OciError('SIZE_INVALID', { message: 'Content-Length is not a number' });
    return Number(text);
  }
}

export type Handler = (exchange: Exchange) => Promise<Response>;
