/**
 * `longshore proxy`: a registry on this machine that passes everything on to another one. Blobs of any size go on in chunks. There is
 * nothing on disk.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { OciError } from '../../worker/oci/errors.ts';
import { CommandFailure } from '../failure.ts';
import type { Credentials } from '../transfer/credentials.ts';
import { deferred } from '../transfer/deferred.ts';
import { admit, type Names } from './admission.ts';
import { type Exchange, refuse, relay } from './answer.ts';
import { PushLog } from './push-log.ts';
import { Uploads } from './uploads.ts';
import { scopeOf, Upstream } from './upstream.ts';

export interface ProxyOptions {
  /** Origin of the registry: `https://registry.example.com`. */
  readonly to: string;
  /** 0 for a free one. */
  readonly port: number;
  /** The address to listen on. Null is 127.0.0.1 and, if it is there, ::1. */
  readonly address: string | null;
  readonly names: Names;
  /** Lent to clients that send none. */
  readonly credentials: Credentials | null;
  /** Finds these credentials again after they were refused. */
  readonly renew: () => Promise<Credentials | null>;
  /** Memory of all uploads together. Default: 84 MiB. */
  readonly memoryBytes?: number;
  /** Uploads at once. Default: 1,000. */
  readonly uploadsMax?: number;
  readonly log: (line: string) => void;
}

export interface RunningProxy {
  readonly port: number;
  /** `http://localhost:5000`. */
  readonly url: string;
  readonly uploads: Uploads;
  /**
   * Takes no new uploads, waits until those that run have ended, and closes. False if some had not ended when `graceMs` were over: they
   * are cancelled.
   */
  stop(graceMs: number): Promise<boolean>;
}

/** With it, the whole process stays below 200 MB. */
const MEMORY_BYTES = 84 * 1024 * 1024;
const UPLOADS_MAX = 1_000;
const HEADERS_MAX_BYTES = 32 * 1024;
const HEADERS_TIMEOUT_MS = 30_000;
/** Longer than clients keep connections: one that the server closes while it is used again fails a push. */
const KEEP_ALIVE_MS = 120_000;
/** No byte in either direction. A client may wait for a chunk that is repeated. */
const SILENCE_MS = 15 * 60 * 1000;
/** To cancel uploads when the proxy stops. */
const CANCEL_MS = 3_000;
const CONNECTIONS_MAX = 2_000;

const UPLOAD = /^\/v2\/(.+)\/blobs\/uploads(?:\/([^/]*))?$/;
const MANIFEST = /^\/v2\/(.+)\/manifests\/([^/]+)$/;

/** Resolves when the proxy answers. Throws a CommandFailure if it cannot start. */
export async function startProxy(options: ProxyOptions): Promise<RunningProxy> {
  const { to, credentials, renew, log, memoryBytes = MEMORY_BYTES, uploadsMax = UPLOADS_MAX } = options;
  const upstream = new Upstream({ origin: to, credentials, renew, log });
  await upstream.check();
  const pushes = new PushLog(log);
  const uploads = new Uploads({ upstream, log: pushes, memoryBytes, uploadsMax });
  const front = new Front(upstream, uploads, pushes, options);
  const [first, ...others] = await listen(options, (request, response) => front.answer(request, response));
  const { port } = first.address() as AddressInfo;
  return {
    port,
    url: `http://${nameOf(options.address)}:${port}`,
    uploads,
    async stop(graceMs) {
      const isDone = await front.drained(graceMs);
      // A registry that does not answer forgets them after a day.
      await Promise.race([uploads.close(), delay(CANCEL_MS, undefined, { ref: false })]);
      upstream.close();
      for (const server of [first, ...others]) {
        server.close();
        server.closeAllConnections();
      }
      return isDone;
    },
  };
}

class Front {
  readonly #upstream: Upstream;
  readonly #uploads: Uploads;
  readonly #pushes: PushLog;
  readonly #names: Names;
  readonly #log: (line: string) => void;
  #running = 0;
  #isClosing = false;
  #onIdle = () => {};

  constructor(upstream: Upstream, uploads: Uploads, pushes: PushLog, { names, log }: ProxyOptions) {
    this.#upstream = upstream;
    this.#uploads = uploads;
    this.#pushes = pushes;
    this.#names = names;
    this.#log = log;
  }

  /** Takes no new uploads. True when nothing runs any more, false when the time is over. */
  async drained(graceMs: number): Promise<boolean> {
    this.#isClosing = true;
    const idle = async () => {
      while (this.#running > 0 || this.#uploads.count > 0) {
        await this.#uploads.ended();
        if (this.#running > 0) await new Promise<void>((resolve) => (this.#onIdle = resolve));
      }
      return true;
    };
    const { promise: late, resolve } = deferred<boolean>();
    const timer = setTimeout(() => resolve(false), graceMs);
    const isDone = await Promise.race([idle(), late]);
    clearTimeout(timer);
    return isDone;
  }

  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const gone = new AbortController();
    response.once('close', () => {
      if (!response.writableFinished) gone.abort(new Error('the client has gone'));
    });
    request.on('error', () => {});
    response.on('error', () => {});
    const exchange = {
      request,
      response,
      method: request.method ?? '',
      path: '',
      query: '',
      proxy: '',
      signal: gone.signal,
    };
    this.#running += 1;
    try {
      const { path, query, host } = admit(request, this.#names);
      await this.#route({ ...exchange, path, query, proxy: `http://${host}` });
    } catch (error) {
      this.#upstream.learn(error);
      const proxy = `http://${request.headers.host ?? ''}`;
      const bug = refuse({ ...exchange, proxy }, error, this.#upstream.origin);
      if (bug !== null) this.#log(bug);
    } finally {
      this.#running -= 1;
      if (this.#running === 0) this.#onIdle();
    }
  }

  async #route(exchange: Exchange): Promise<void> {
    const { method, path } = exchange;
    if (path === '/token') return this.#token(exchange);
    const [, repository, id] = UPLOAD.exec(path) ?? [];
    if (repository === undefined || (!id && method !== 'POST')) return this.#pass(exchange);
    if (!id) {
      if (this.#isClosing) throw new OciError('UNAVAILABLE', { message: 'this proxy is stopping' });
      return this.#uploads.start(exchange, repository);
    }
    switch (method) {
      case 'PATCH':
        return this.#uploads.append(exchange, repository, id);
      case 'PUT':
        return this.#uploads.commit(exchange, repository, id);
      case 'GET':
        return this.#uploads.status(exchange, repository, id);
      case 'DELETE':
        return this.#uploads.cancel(exchange, repository, id);
      default:
        throw new OciError('UNSUPPORTED', { headers: { Allow: 'GET, PATCH, PUT, DELETE' } });
    }
  }

  async #pass(exchange: Exchange): Promise<void> {
    const { method, path } = exchange;
    const answer = await this.#upstream.forward(exchange, scopeOf(method, path));
    const [, repository, reference] = MANIFEST.exec(path) ?? [];
    if (method === 'PUT' && answer.status === 201 && repository !== undefined) {
      this.#pushes.manifest(repository, decodeURIComponent(reference ?? ''));
    }
    await relay(exchange, answer, this.#upstream.origin);
  }

  async #token(exchange: Exchange): Promise<void> {
    if (exchange.method !== 'GET' && exchange.method !== 'POST') {
      throw new OciError('UNSUPPORTED', { headers: { Allow: 'GET, POST' } });
    }
    const { status, header, bytes } = await this.#upstream.token(exchange);
    exchange.response.writeHead(status, {
      'Content-Type': header('Content-Type') ?? 'application/json',
      'Content-Length': bytes.length,
      'Cache-Control': 'no-store',
    });
    exchange.response.end(bytes);
  }
}

async function listen(
  { address, port }: Pick<ProxyOptions, 'address' | 'port'>,
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<[Server, ...Server[]]> {
  const first = await bind(serverOf(answer), address ?? '127.0.0.1', port);
  if (address !== null) return [first];
  // Some resolvers give ::1 for localhost first. Another program there would get the images and passwords of clients.
  const { port: taken } = first.address() as AddressInfo;
  try {
    return [first, await bind(serverOf(answer), '::1', taken)];
  } catch (error) {
    if (error instanceof CannotListen && !error.isTaken) return [first];
    first.close();
    if (port === 0) return listen({ address, port }, answer);
    throw error;
  }
}

function serverOf(answer: (request: IncomingMessage, response: ServerResponse) => void): Server {
  const server = createServer(
    { maxHeaderSize: HEADERS_MAX_BYTES, keepAliveTimeout: KEEP_ALIVE_MS, headersTimeout: HEADERS_TIMEOUT_MS },
    answer,
  );
  // A layer takes as long as it takes.
  server.requestTimeout = 0;
  server.timeout = SILENCE_MS;
  server.maxConnections = CONNECTIONS_MAX;
  return server;
}

async function bind(server: Server, address: string, port: number): Promise<Server> {
  server.listen({ host: address, port, ipv6Only: address === '::1' });
  try {
    await once(server, 'listening');
  } catch (error) {
    throw new CannotListen(address, port, (error as NodeJS.ErrnoException).code ?? '');
  }
  return server;
}

class CannotListen extends CommandFailure {
  readonly isTaken: boolean;

  constructor(address: string, port: number, code: string) {
    const isTaken = code === 'EADDRINUSE';
    super(
      isTaken
        ? `Port ${port} of ${address} is in use.\nChoose another one with --port.`
        : `Cannot listen on ${address}, port ${port}: ${code}.`,
    );
    this.isTaken = isTaken;
  }
}

/** Docker takes `localhost:5000` for a registry without TLS. */
function nameOf(address: string | null): string {
  if (address === null || address === '127.0.0.1' || address === '::1') return 'localhost';
  return address.includes(':') ? `[${address}]` : address;
}
