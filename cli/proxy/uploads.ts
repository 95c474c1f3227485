/**
 * The uploads of clients. Their ids are the proxy's own. What the registry has of them is known here only, so they end with the proxy.
 * Distribution spec, "Pushing blobs".
 */
import { randomBytes } from 'node:crypto';
import { isDigest } from '../../worker/oci/digest.ts';
import { OciError } from '../../worker/oci/errors.ts';
import { type ByteRange, lengthOf, parseContentRange } from '../../worker/oci/range.ts';
import { type Answer, discard } from '../transfer/http.ts';
import { ChunkedUpload, ChunkLimit } from '../transfer/upload.ts';
import { type Exchange, relay, reply } from './answer.ts';
import { BlockPool } from './block-pool.ts';
import { ChunkSize } from './chunk-size.ts';
import { ClientLogin } from './client-login.ts';
import type { PushLog } from './push-log.ts';
import { ANSWER_PATIENCE_MS, RelayedUpload, type RelayParts } from './relayed-upload.ts';
import type { Upstream } from './upstream.ts';

export interface UploadsOptions {
  readonly upstream: Upstream;
  readonly log: PushLog;
  /** Memory of all uploads together. */
  readonly memoryBytes: number;
  /** Uploads at once, also those whose clients are silent. */
  readonly uploadsMax: number;
}

/** A client that has lost its connection may continue for this long. */
const LIFETIME_MS = 15 * 60 * 1000;
const SWEEP_MS = 30_000;
/** An upload whose client is silent for this long does not keep the proxy from stopping. */
const PAUSE_MS = 5_000;
const PAUSE_CHECK_MS = 500;

export class Uploads {
  readonly #upstream: Upstream;
  readonly #log: PushLog;
  readonly #parts: RelayParts;
  readonly #uploadsMax: number;
  readonly #uploads = new Map<string, RelayedUpload>();
  readonly #sweep: NodeJS.Timeout;
  #onEmpty = () => {};

  constructor({ upstream, log, memoryBytes, uploadsMax }: UploadsOptions) {
    this.#uploadsMax = uploadsMax;
    const pool = new BlockPool(memoryBytes);
    const limit = new ChunkLimit();
    this.#upstream = upstream;
    this.#log = log;
    this.#parts = { pool, limit, size: new ChunkSize(limit, pool) };
    this.#sweep = setInterval(() => this.#expire(Date.now() - LIFETIME_MS), SWEEP_MS);
    this.#sweep.unref();
  }

  get count(): number {
    return this.#uploads.size;
  }

  /** Bytes of clients that are in memory. */
  get memoryBytes(): number {
    return this.#parts.pool.usedBytes;
  }

  /** Resolves when no upload runs any more. Those whose clients are silent are cancelled. */
  async ended(): Promise<void> {
    if (this.count === 0) return;
    const check = setInterval(() => this.#expire(Date.now() - PAUSE_MS), PAUSE_CHECK_MS);
    await new Promise<void>((resolve) => {
      this.#onEmpty = resolve;
      this.#expire(Date.now() - PAUSE_MS);
    });
    clearInterval(check);
  }

  /** Cancels all uploads. */
  async close(): Promise<void> {
    clearInterval(this.#sweep);
    await Promise.all([...this.#uploads.values()].map((upload) => this.#cancel(upload)));
  }

  /** POST: starts an upload, mounts a blob, or takes a whole blob. */
  async start(exchange: Exchange, repository: string): Promise<void> {
    const query = new URLSearchParams(exchange.query);
    const digest = query.has('mount') ? null : query.get('digest');
    if (digest === null) {
      const answer = await this.#upstream.forward(exchange, pushScope(repository, query.get('from')));
      if (answer.status !== 202) return relay(exchange, answer, this.#upstream.origin);
      return this.#accepted(exchange, this.#begin(exchange, repository, answer));
    }
    const algorithm = digest.split(':')[0] ?? '';
    const upload = await this.#beginWhole(exchange, repository, algorithm);
    try {
      await this.#take(upload, async () => {
        await this.#body(exchange, upload);
        await this.#end(exchange, upload, digest);
      });
    } finally {
      if (this.#uploads.has(upload.id)) await this.#cancel(upload);
    }
  }

  /** PATCH: takes a chunk of any length. */
  async append(exchange: Exchange, repository: string, id: string): Promise<void> {
    const upload = await this.#find(exchange, repository, id);
    await this.#take(upload, async () => {
      await this.#body(exchange, upload);
      this.#accepted(exchange, upload);
    });
  }

  /** PUT: takes the last chunk, if there is one, and ends the upload. */
  async commit(exchange: Exchange, repository: string, id: string): Promise<void> {
    const upload = await this.#find(exchange, repository, id);
    const digest = new URLSearchParams(exchange.query).get('digest');
    if (digest === null) {
      throw new OciError('DIGEST_INVALID', { message: 'the final PUT names the digest: ?digest=' });
    }
    await this.#take(upload, async () => {
      await this.#body(exchange, upload);
      await this.#end(exchange, upload, digest);
    });
  }

  /** GET: how much has arrived. */
  async status(exchange: Exchange, repository: string, id: string): Promise<void> {
    const upload = await this.#find(exchange, repository, id);
    reply(exchange, 204, headersOf(upload));
  }

  /** DELETE. */
  async cancel(exchange: Exchange, repository: string, id: string): Promise<void> {
    const upload = await this.#find(exchange, repository, id);
    if (upload.isBusy) throw elsewhere(upload, 'another request of this upload is in progress');
    await this.#cancel(upload);
    reply(exchange, 204);
  }

  #begin(exchange: Exchange, repository: string, answer: Answer): RelayedUpload {
    const location = answer.header('Location');
    discard(answer);
    if (location === null) {
      throw new OciError('UNAVAILABLE', { status: 502, message: 'the registry gave no Location' });
    }
    const login = this.#upstream.loginOf(exchange.request);
    const registry = this.#upstream.registry(login);
    const path = new URL(location, new URL(exchange.path, registry.origin));
    if (path.origin !== registry.origin) {
      throw new OciError('UNAVAILABLE', {
        status: 502,
        message: 'the registry named another host for an upload',
      });
    }
    return this.#add(
      exchange,
      repository,
      login,
      ChunkedUpload.started(registry, repository, this.#parts.limit, path.href),
    );
  }

  async #beginWhole(exchange: Exchange, repository: string, algorithm: string): Promise<RelayedUpload> {
    const login = this.#upstream.loginOf(exchange.request);
    const registry = this.#upstream.registry(login);
    const query = algorithm === 'sha256' ? '' : `?digest-algorithm=${encodeURIComponent(algorithm)}`;
    const path = `/v2/${repository}/blobs/uploads/${query}`;
    const scope = pushScope(repository, null);
    const { signal } = exchange;
    const patienceMs = ANSWER_PATIENCE_MS;
    const answer = await registry.request({ method: 'POST', path, scope, signal, patienceMs });
    if (answer.status !== 202) throw await registry.failure(answer, `POST ${path}`);
    return this.#begin(exchange, repository, answer);
  }

  #add(
    exchange: Exchange,
    repository: string,
    login: RelayedUpload['login'],
    upload: ChunkedUpload,
  ): RelayedUpload {
    exchange.signal.throwIfAborted();
    if (this.count >= this.#uploadsMax) this.#expire(Date.now() - SWEEP_MS);
    if (this.count >= this.#uploadsMax) {
      void upload.cancel();
      throw new OciError('TOOMANYREQUESTS', {
        message: `this proxy has ${this.#uploadsMax} uploads already`,
        headers: { 'Retry-After': '30' },
      });
    }
    const id = randomBytes(18).toString('base64url');
    const relayed = new RelayedUpload(id, repository, login, upload, this.#parts);
    this.#uploads.set(id, relayed);
    this.#log.started(repository);
    return relayed;
  }

  /** The upload of a request, whose client may use it. */
  async #find({ request, signal }: Exchange, repository: string, id: string): Promise<RelayedUpload> {
    const upload = this.#uploads.get(id);
    if (upload === undefined || upload.repository !== repository) throw new OciError('BLOB_UPLOAD_UNKNOWN');
    upload.usedAt = Date.now();
    const { authorization } = request.headers;
    if (upload.login === null || upload.login.knows(authorization)) return upload;
    // Some clients send the body with no token first. It must not count.
    const registry = this.#upstream.registry(new ClientLogin(authorization, null));
    const scope = pushScope(repository, null);
    discard(await registry.attempt({ method: 'GET', path: upload.location, scope, signal }));
    upload.login.use(authorization);
    return upload;
  }

  /** One request at a time. An upload that has failed is forgotten. */
  async #take(upload: RelayedUpload, run: () => Promise<void>): Promise<void> {
    if (upload.isBusy) throw elsewhere(upload, 'another request of this upload is in progress');
    upload.isBusy = true;
    try {
      await run();
    } finally {
      upload.isBusy = false;
      upload.usedAt = Date.now();
      if (upload.hasFailed && this.#uploads.has(upload.id)) void this.#cancel(upload);
    }
  }

  async #body({ request }: Exchange, upload: RelayedUpload): Promise<void> {
    const length = request.headers['content-length'];
    const range = parseContentRange(request.headers['content-range'] ?? null);
    if (range !== null && range.first !== upload.received) {
      throw elsewhere(
        upload,
        `the chunk begins at ${range.first}, and the upload stands at ${upload.received}`,
      );
    }
    if (range !== null && length !== undefined && Number(length) !== lengthOf(range))
      throw sizeInvalid(range);
    const before = upload.received;
    await upload.accept(request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>);
    if (range !== null && upload.received - before !== lengthOf(range)) {
      await this.#cancel(upload);
      throw sizeInvalid(range);
    }
  }

  async #end(exchange: Exchange, upload: RelayedUpload, digest: string): Promise<void> {
    const answer = await upload.end(digest);
    if (answer.status === 201) {
      this.#log.blob(upload.repository, upload.received);
      this.#forget(upload);
    } else if (answer.status === 404) {
      this.#forget(upload);
      // An earlier attempt, whose answer was lost, may have ended the upload. Longshore would say 201 again.
      if (await this.#isStored(exchange, upload, digest)) {
        discard(answer);
        this.#log.blob(upload.repository, upload.received);
        const Location = `/v2/${upload.repository}/blobs/${digest}`;
        return reply(exchange, 201, { Location, 'Docker-Content-Digest': digest });
      }
    } else if (answer.status === 400) {
      // The bytes are not those of the digest. They are not kept for another one.
      void this.#cancel(upload);
    }
    await relay(exchange, answer, this.#upstream.origin);
  }

  async #isStored({ signal }: Exchange, upload: RelayedUpload, digest: string): Promise<boolean> {
    if (!isDigest(digest)) return false;
    const { repository, login, received } = upload;
    const path = `/v2/${repository}/blobs/${digest}`;
    const scope = pushScope(repository, null);
    try {
      const answer = await this.#upstream.registry(login).attempt({ method: 'HEAD', path, scope, signal });
      discard(answer);
      return answer.status === 200 && answer.header('Content-Length') === String(received);
    } catch {
      // The client gets the first answer.
      return false;
    }
  }

  #accepted(exchange: Exchange, upload: RelayedUpload): void {
    reply(exchange, 202, headersOf(upload));
  }

  #expire(before: number): void {
    for (const upload of this.#uploads.values()) {
      if (!upload.isBusy && upload.usedAt < before) void this.#cancel(upload);
    }
  }

  async #cancel(upload: RelayedUpload): Promise<void> {
    this.#forget(upload);
    await upload.cancel();
  }

  #forget(upload: RelayedUpload): void {
    upload.close();
    this.#uploads.delete(upload.id);
    if (this.count === 0) this.#onEmpty();
  }
}

function headersOf({ id, repository, received }: RelayedUpload): Record<string, string> {
  return {
    Location: `/v2/${repository}/blobs/uploads/${id}`,
    // Docker reads the size of a layer from it.
    Range: `0-${Math.max(0, received - 1)}`,
    'Docker-Upload-UUID': id,
  };
}

function elsewhere(upload: RelayedUpload, message: string): OciError {
  return new OciError('BLOB_UPLOAD_INVALID', { message, headers: headersOf(upload) });
}

function sizeInvalid(range: ByteRange): OciError {
  return new OciError('SIZE_INVALID', {
    message: `Content-Range names ${lengthOf(range)} bytes, and the body has another length`,
  });
}

function pushScope(repository: string, from: string | null): string {
  const own = `repository:${repository}:pull,push`;
  return from === null ? own : `${own} repository:${from}:pull`;
}
