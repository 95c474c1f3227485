/**
 * A double of R2's S3 endpoint, which enforces what Miniflare's does not: checksums, session tokens of temporary credentials, every
 * signed header, and `If-None-Match`. It stores into the bucket that the registry is bound to. Cloudflare docs, "R2: S3 API
 * compatibility", "Temporary credentials"; S3 API, "PutObject", "UploadPart", "CompleteMultipartUpload".
 */
import { createHash, createHmac } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { answerTo, open } from './http.ts';
import { type SignedRequest, type Signing, signatureOf } from './sigv4.ts';

export interface S3Credentials {
  accessKeyId: string;
  secretAccessKey: string;
}

/** A request and its answer. */
export interface S3Request {
  operation: string;
  key: string;
  /** In bytes, as the client said. */
  size: number;
  status: number;
  /** The code of an error; empty for a success. */
  code: string;
}

/** What a test makes of the next requests. */
export type S3Fault =
  /** Answers as S3 would. */
  | { status: number; code: string }
  /** Closes the connection after this many bytes of the body. */
  | { cutAfterBytes: number }
  /** Does what was asked, and closes the connection instead of answering. */
  | { loseAnswer: true }
  /** Never answers. */
  | { isSilent: true };

/** What the double asks of the bucket; `bucket-requests.ts` answers. */
export type BucketOperation =
  | 'put'
  | 'get'
  | 'head'
  | 'delete'
  | 'create'
  | 'part'
  | 'complete'
  | 'abort'
  | 'uploads';

export interface CompletedPart {
  partNumber: number;
  etag: string;
}

const MiB = 1024 * 1024;
const GiB = 1024 * MiB;
/** "R2: Limits", the largest single upload. */
const PUT_MAX_BYTES = 5 * GiB;
const SKEW_MS = 15 * 60_000;
const BUCKET = 'longshore-blobs';

/** An answer that is an error of S3. */
class S3Error extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message = code) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** The request, and who signed it. */
interface Asked {
  operation: string;
  key: string;
  query: URLSearchParams;
  headers: Record<string, string | undefined>;
  incoming: IncomingMessage;
  size: number;
}

export class S3Double implements AsyncDisposable {
  /** Every request that was answered, in order. */
  readonly requests: S3Request[] = [];
  /** For requests of these operations, in order: null lets one pass. */
  readonly faults = new Map<string, (S3Fault | null)[]>();
  /** How far the clock of the double is ahead, in ms. */
  clockAheadMs = 0;
  /** Multipart uploads in one page of their list. */
  uploadsAtATime = 1000;
  /** False: checksums are recorded, and not compared with the bytes. */
  comparesChecksums = true;
  readonly #credentials: S3Credentials;
  readonly #server = createServer((incoming, response) => void this.#answer(incoming, response));
  /** Sizes of the parts that are stored, by upload and number. */
  readonly #parts = new Map<string, Map<number, { size: number; etag: string }>>();
  #registry = '';

  constructor(credentials: S3Credentials) {
    this.#credentials = credentials;
  }

  /** What `S3_BUCKET_URL` is set to. */
  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/${BUCKET}`;
  }

  async start(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  /** Stores into the bucket of this registry, which runs the tests' Worker. */
  attach(registryUrl: string): void {
    this.#registry = registryUrl;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  /** Statuses and codes of the requests of one operation. */
  answersTo(operation: string): string[] {
    return this.requests
      .filter((request) => request.operation === operation)
      .map(({ status, code }) => `${status} ${code}`.trim());
  }

  async #answer(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const [path = '', query = ''] = (incoming.url ?? '').split('?');
    const headers = incoming.headers as Record<string, string | undefined>;
    const method = incoming.method ?? '';
    const parameters = new URLSearchParams(query);
    const key = decodeURIComponent(path).slice(`/${BUCKET}/`.length);
    const operation = operationOf(method, parameters);
    const size = Number(headers['content-length'] ?? 0);
    const asked: Asked = { operation, key, query: parameters, headers, incoming, size };
    const fault = this.faults.get(operation)?.shift() ?? null;
    const log = { operation, key, size };
    try {
      if (fault !== null && 'cutAfterBytes' in fault) {
        await cut(incoming, fault.cutAfterBytes);
        return;
      }
      if (fault !== null && 'isSilent' in fault) return;
      if (fault !== null && 'status' in fault) throw new S3Error(fault.status, fault.code);
      if (!`${path}/`.startsWith(`/${BUCKET}/`)) throw new S3Error(404, 'NoSuchBucket');
      this.#authorize({ method, path, query, headers }, asked);
      const { status = 200, body = '', etag } = await this.#perform(asked);
      if (fault !== null && 'loseAnswer' in fault) {
        incoming.socket.destroy();
        return;
      }
      this.requests.push({ ...log, status, code: '' });
      response.writeHead(status, {
        'Content-Length': Buffer.byteLength(body),
        ...(etag && { ETag: `"${etag}"` }),
      });
      response.end(method === 'HEAD' ? undefined : body);
    } catch (error) {
      const known = error instanceof S3Error ? error : new S3Error(500, 'InternalError', String(error));
      this.requests.push({ ...log, status: known.status, code: known.code });
      // S3 answers before it has read the body of a request that it refuses.
      const body = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${known.code}</Code><Message>${known.message}</Message></Error>`;
      const isRead = incoming.complete || size === 0;
      response.writeHead(known.status, {
        'Content-Type': 'application/xml',
        'Content-Length': Buffer.byteLength(body),
        ...(isRead ? {} : { Connection: 'close' }),
      });
      // A client that has gone leaves no socket.
      const { socket }: { socket: Socket | null } = incoming;
      response.end(method === 'HEAD' ? undefined : body, () => {
        if (!isRead) socket?.destroySoon();
      });
    }
  }

  /** Throws an S3Error if the request is not signed, or if its credentials do not allow it. */
  #authorize(request: SignedRequest, asked: Asked): void {
    const { query, headers } = asked;
    const isPresigned = query.has('X-Amz-Signature');
    const fields = isPresigned ? query : authorizationFields(headers.authorization);
    const value = (name: string) => fields.get(isPresigned ? `X-Amz-${name}` : name) ?? '';
    const [accessKeyId, ...scope] = value('Credential').split('/');
    const date = isPresigned ? value('Date') : (headers['x-amz-date'] ?? '');
    if (accessKeyId !== this.#credentials.accessKeyId) throw new S3Error(401, 'Unauthorized');
    this.#checkTime(date, isPresigned ? Number(value('Expires')) : null);
    const signedHeaders = value('SignedHeaders').split(';');
    const unsigned = Object.keys(headers).filter(
      (name) => (name === 'host' || name.startsWith('x-amz-')) && !signedHeaders.includes(name),
    );
    if (unsigned.length > 0)
      throw new S3Error(403, 'AccessDenied', `headers that are not signed: ${unsigned.join()}`);
    const token = (isPresigned ? query.get('X-Amz-Security-Token') : headers['x-amz-security-token']) ?? null;
    const signing: Signing = {
      date,
      scope: scope.join('/'),
      signedHeaders,
      payload: isPresigned ? 'UNSIGNED-PAYLOAD' : (headers['x-amz-content-sha256'] ?? ''),
      secretAccessKey:
        token === null ? this.#credentials.secretAccessKey : this.#secretOf(token, asked, headers.host ?? ''),
    };
    if (signatureOf(request, signing) !== value('Signature')) throw new S3Error(403, 'SignatureDoesNotMatch');
  }

  #checkTime(date: string, expires: number | null): void {
    const signed = Date.parse(
      date.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'),
    );
    const now = Date.now() + this.clockAheadMs;
    if (Number.isNaN(signed)) throw new S3Error(403, 'AccessDenied', 'the date is missing');
    if (expires !== null) {
      if (!(expires > 0 && expires <= 604_800)) throw new S3Error(400, 'AuthorizationQueryParametersError');
      if (signed + expires * 1000 < now) throw new S3Error(400, 'ExpiredRequest');
    }
    const isFar = expires === null ? Math.abs(now - signed) > SKEW_MS : signed - now > SKEW_MS;
    if (isFar) throw new S3Error(403, 'RequestTimeTooSkewed');
  }

  /** The secret that belongs to a session token, if the token allows what is asked. */
  #secretOf(token: string, { operation, key }: Asked, host: string): string {
    const text = Buffer.from(token, 'base64').toString();
    const jwt = text.slice('jwt/'.length);
    const [header = '', payload = '', signature = ''] = jwt.split('.');
    const mac = createHmac('sha256', this.#credentials.secretAccessKey).update(`${header}.${payload}`);
    if (!text.startsWith('jwt/') || mac.digest('base64url') !== signature)
      throw new S3Error(403, 'InvalidToken');
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as {
      iss?: string;
      aud?: string;
      exp?: number;
      bucket?: string;
      scope?: string;
      actions?: string[];
      paths?: { prefixPaths?: string[]; objectPaths?: string[] };
    };
    if (JSON.parse(Buffer.from(header, 'base64url').toString()).alg !== 'HS256')
      throw new S3Error(403, 'InvalidToken');
    if ((claims.exp ?? 0) * 1000 < Date.now() + this.clockAheadMs) throw new S3Error(400, 'ExpiredToken');
    const { paths } = claims;
    const isFor =
      claims.iss === this.#credentials.accessKeyId && claims.aud === host && claims.bucket === BUCKET;
    const isWithin =
      paths === undefined ||
      paths.objectPaths?.includes(key) ||
      paths.prefixPaths?.some((prefix) => key.startsWith(prefix));
    if (!isFor || !isWithin || !claims.actions?.includes(operation)) throw new S3Error(403, 'AccessDenied');
    return createHash('sha256').update(jwt).digest('hex');
  }

  async #perform(asked: Asked): Promise<{ status?: number; body?: string; etag?: string }> {
    const { operation, key, query } = asked;
    const uploadId = query.get('uploadId') ?? '';
    switch (operation) {
      case 'PutObject':
        return this.#put(asked);
      case 'GetObject':
      case 'HeadObject': {
        const found = await this.#bucket(operation === 'GetObject' ? 'get' : 'head', { key });
        return { status: found.status, body: await found.text() };
      }
      case 'DeleteObject':
        await this.#bucket('delete', { key });
        return { status: 204 };
      case 'CreateMultipartUpload': {
        const id = await this.#bucket('create', { key, ...metadataOf(asked) });
        return { body: xml('InitiateMultipartUploadResult', `<UploadId>${await id.json()}</UploadId>`) };
      }
      case 'UploadPart':
        return this.#uploadPart(asked, uploadId);
      case 'ListParts': {
        const parts = [...(this.#parts.get(uploadId) ?? [])].sort(([one], [other]) => one - other);
        const listed = parts.map(
          ([number, { size, etag }]) =>
            `<Part><PartNumber>${number}</PartNumber><ETag>"${etag}"</ETag><Size>${size}</Size></Part>`,
        );
        const rest = '<IsTruncated>false</IsTruncated>';
        return { body: xml('ListPartsResult', `${listed.join('')}${rest}`) };
      }
      case 'CompleteMultipartUpload':
        return this.#complete(asked, uploadId);
      case 'ListMultipartUploads': {
        const uploads = (await (await this.#bucket('uploads', { key: '' })).json()) as [string, string][];
        return { body: xml('ListMultipartUploadsResult', this.#listed(uploads, query)) };
      }
      case 'AbortMultipartUpload':
        await this.#bucket('abort', { key, uploadId });
        return { status: 204 };
      default:
        throw new S3Error(501, 'NotImplemented');
    }
  }

  /** A page of uploads by key, of `uploadsAtATime`. They began now, by the clock of the double. */
  #listed(uploads: [id: string, key: string][], query: URLSearchParams): string {
    const after = `${query.get('key-marker') ?? ''} ${query.get('upload-id-marker') ?? ''}`;
    const matching = uploads
      .filter(([id, key]) => key.startsWith(query.get('prefix') ?? '') && `${key} ${id}` > after)
      .sort(([one, oneKey], [other, otherKey]) => (`${oneKey} ${one}` < `${otherKey} ${other}` ? -1 : 1));
    const some = matching.slice(0, this.uploadsAtATime);
    const begun = new Date(Date.now() + this.clockAheadMs).toISOString();
    const listed = some.map(
      ([id, key]) =>
        `<Upload><Key>${key}</Key><UploadId>${id}</UploadId><Initiated>${begun}</Initiated></Upload>`,
    );
    const [lastId, lastKey] = some.at(-1) ?? [];
    const next =
      some.length < matching.length
        ? `<IsTruncated>true</IsTruncated><NextKeyMarker>${lastKey}</NextKeyMarker><NextUploadIdMarker>${lastId}</NextUploadIdMarker>`
        : '<IsTruncated>false</IsTruncated>';
    return `${listed.join('')}${next}`;
  }

  async #put(asked: Asked): Promise<{ etag: string }> {
    const { key, headers, query, size, incoming } = asked;
    if (headers['content-length'] === undefined) throw new S3Error(411, 'MissingContentLength');
    if (size > PUT_MAX_BYTES) throw new S3Error(400, 'EntityTooLarge');
    if (headers['if-none-match'] === '*' && (await this.#bucket('head', { key })).status === 200)
      throw new S3Error(412, 'PreconditionFailed');
    const checksum = headers['x-amz-checksum-sha256'] ?? query.get('x-amz-checksum-sha256') ?? '';
    const sha256 = Buffer.from(checksum, 'base64').toString('hex');
    const checked = checksum === '' || !this.comparesChecksums ? {} : { sha256 };
    const stored = await this.#bucket('put', { key, ...checked, ...metadataOf(asked) }, incoming, size);
    if (stored.ok) return (await stored.json()) as { etag: string };
    const reason = await stored.text();
    throw /\(10037\)/.test(reason)
      ? new S3Error(400, 'BadDigest')
      : new S3Error(500, 'InternalError', reason);
  }

  async #uploadPart({ key, headers, incoming, query }: Asked, uploadId: string): Promise<{ etag: string }> {
    const number = Number(query.get('partNumber'));
    if (headers['content-length'] === undefined) throw new S3Error(411, 'MissingContentLength');
    if (headers['x-amz-checksum-sha256'] !== undefined) throw new S3Error(501, 'NotImplemented');
    if (!(number >= 1 && number <= 10_000)) throw new S3Error(400, 'InvalidArgument');
    const bytes = await whole(incoming);
    const md5 = headers['content-md5'];
    if (md5 !== undefined && createHash('md5').update(bytes).digest('base64') !== md5)
      throw new S3Error(400, 'BadDigest');
    const stored = await this.#bucket('part', { key, uploadId, number: String(number) }, bytes);
    if (!stored.ok) throw new S3Error(404, 'NoSuchUpload', await stored.text());
    const { etag } = (await stored.json()) as { etag: string };
    const parts = this.#parts.get(uploadId) ?? new Map<number, { size: number; etag: string }>();
    this.#parts.set(uploadId, parts.set(number, { size: bytes.length, etag }));
    return { etag };
  }

  async #complete({ key, incoming }: Asked, uploadId: string): Promise<{ body: string }> {
    const listed = [
      ...(await whole(incoming))
        .toString()
        .matchAll(/<PartNumber>(\d+)<\/PartNumber>\s*<ETag>"?([^"<]+)"?<\/ETag>/g),
    ];
    const parts: CompletedPart[] = listed.map(([, number, etag = '']) => ({
      partNumber: Number(number),
      etag,
    }));
    const stored = this.#parts.get(uploadId);
    if (stored === undefined) throw new S3Error(404, 'NoSuchUpload');
    const isAscending = parts.every(
      ({ partNumber }, at) => at === 0 || partNumber > (parts[at - 1]?.partNumber ?? 0),
    );
    if (!isAscending) throw new S3Error(400, 'InvalidPartOrder');
    const sizes = parts.map(({ partNumber, etag }) => {
      const part = stored.get(partNumber);
      if (part === undefined || part.etag !== etag) throw new S3Error(400, 'InvalidPart');
      return part.size;
    });
    const [first = 0] = sizes;
    const isEqual = sizes.slice(0, -1).every((size) => size === first) && (sizes.at(-1) ?? 0) <= first;
    if (!isEqual) throw new S3Error(400, 'InvalidPart', 'all parts but the last have the same size');
    if (sizes.length > 1 && first < 5 * MiB) throw new S3Error(400, 'EntityTooSmall');
    const answer = await this.#bucket('complete', { key, uploadId }, Buffer.from(JSON.stringify(parts)));
    if (!answer.ok) throw new S3Error(404, 'NoSuchUpload', await answer.text());
    this.#parts.delete(uploadId);
    return { body: xml('CompleteMultipartUploadResult', `<Key>${key}</Key>`) };
  }

  #bucket(
    op: BucketOperation,
    query: Record<string, string>,
    body?: IncomingMessage | Buffer,
    size = 0,
  ): Promise<Response> {
    const url = `${this.#registry}/test/bucket?${new URLSearchParams({ op, ...query })}`;
    if (body === undefined) return fetch(url);
    if ('pipe' in body) return piped(url, body, size);
    return fetch(url, { method: 'POST', body: Uint8Array.from(body) });
  }
}

/** Sends a body on as it arrives. The bucket takes streams of a known length only, which fetch does not send. */
async function piped(url: string, body: IncomingMessage, size: number): Promise<Response> {
  const { origin, pathname, search } = new URL(url);
  const outgoing = open(origin, 'POST', pathname + search, { headers: { 'Content-Length': size } });
  const answered = answerTo(outgoing);
  body.once('close', () => {
    if (!body.complete) outgoing.destroy();
  });
  body.pipe(outgoing);
  const { status, body: content } = await answered;
  return new Response(Uint8Array.from(content), { status });
}

function operationOf(method: string, query: URLSearchParams): string {
  const isPart = query.has('uploadId');
  if (method === 'PUT') return isPart ? 'UploadPart' : 'PutObject';
  if (method === 'GET' && query.has('uploads')) return 'ListMultipartUploads';
  if (method === 'GET') return isPart ? 'ListParts' : 'GetObject';
  if (method === 'HEAD') return 'HeadObject';
  if (method === 'DELETE') return isPart ? 'AbortMultipartUpload' : 'DeleteObject';
  if (method === 'POST' && query.has('uploads')) return 'CreateMultipartUpload';
  return method === 'POST' && isPart ? 'CompleteMultipartUpload' : method;
}

/** The fields of `AWS4-HMAC-SHA256 Credential=..., SignedHeaders=..., Signature=...`. */
function authorizationFields(header = ''): Map<string, string> {
  const fields = header.replace(/^AWS4-HMAC-SHA256 /, '').split(/,\s*/);
  return new Map(fields.map((field) => [field.split('=')[0] ?? '', field.split('=').slice(1).join('=')]));
}

function metadataOf({ headers }: Asked): Record<string, string> {
  const names = {
    contentType: 'content-type',
    contentDisposition: 'content-disposition',
    contentEncoding: 'content-encoding',
  };
  return Object.fromEntries(
    Object.entries(names).flatMap(([name, header]) => {
      const value = headers[header];
      return value === undefined ? [] : [[name, value]];
    }),
  );
}

async function whole(incoming: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of incoming as AsyncIterable<Buffer>) pieces.push(piece);
  if (!incoming.complete) throw new S3Error(400, 'IncompleteBody');
  return Buffer.concat(pieces);
}

async function cut(incoming: IncomingMessage, bytes: number): Promise<void> {
  let size = 0;
  if (bytes > 0) {
    for await (const piece of incoming as AsyncIterable<Buffer>) {
      size += piece.length;
      if (size >= bytes) break;
    }
  }
  incoming.socket.destroy();
}

function xml(root: string, content: string): string {
  return `<?xml version="1.0" encoding="UTF-8"?><${root}>${content}</${root}>`;
}
