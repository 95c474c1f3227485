// One HTTP request of the client. Bodies have a known length, because Cloudflare and R2 want one, and can be sent again.
import {
  type ClientRequest,
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
} from 'node:http';
import { Readable } from 'node:stream';
import { isLoopback } from '../../worker/oci/address.ts';
import { CommandFailure } from '../failure.ts';
import { deferred } from './deferred.ts';

export interface Sent {
  method: string;
  url: string;
  headers?: Readonly<Record<string, string>>;
  body?: Body | null;
  signal?: AbortSignal | undefined;
}

/** Bytes to send. */
export interface Body {
  /** In bytes. */
  readonly size: number;
  /**
   * Opens the bytes from the beginning. A request that is sent again opens them again. A piece may be overwritten when the next one
   * has been asked for.
   */
  open(): AsyncIterable<Uint8Array>;
  /** Gets the number of bytes that were handed to the connection since it was last called. */
  sent?(bytes: number): void;
}

export interface Answer {
  readonly status: number;
  /** A header, or null. */
  header(name: string): string | null;
  /** Read it to the end, or call `discard`. */
  readonly body: IncomingMessage;
}

/** No byte was sent or received for this long. */
const IDLE_MS = 60_000;
/** After the last byte of a body the registry may still have work to do. */
const ANSWER_MS = 300_000;
const ERROR_BODY_MAX_BYTES = 64 * 1024;
/** The time to read the rest of an answer that is not needed. */
const DISCARD_MS = 5_000;

// Without a limit of sockets: clients of the proxy that read slowly must not keep others waiting.
const AGENT_OPTIONS = { keepAlive: true, scheduling: 'lifo' } as const;
const PROXIED_OPTIONS = { ...AGENT_OPTIONS, proxyEnv: process.env };

/** How requests of one protocol are made. */
interface Way {
  readonly request: typeof httpRequest;
  readonly agent: HttpAgent;
  /** It asks the proxy that the environment names. */
  readonly proxied: HttpAgent;
}

const HTTP: Way = {
  request: httpRequest,
  agent: new HttpAgent(AGENT_OPTIONS),
  proxied: new HttpAgent(PROXIED_OPTIONS),
};
let https: Promise<Way> | null = null;

/** Node needs 27 ms to load TLS, so it is loaded only for the first request with it. */
async function loadHttps(): Promise<Way> {
  const { Agent, request } = await import('node:https');
  return { request, agent: new Agent(AGENT_OPTIONS), proxied: new Agent(PROXIED_OPTIONS) };
}

/** The connection failed, or was silent for too long. The request may have reached the server. */
export class ConnectionLost extends Error {
  override readonly name = 'ConnectionLost';
}

/**
 * Sends a request and returns the head of the answer. Redirects are not followed. An answer that comes before the body was sent
 * ends the body.
 *
 * Throws ConnectionLost.
 * Throws what `body.open()` throws.
 * Throws the signal's reason when it is aborted. This also ends the body of the answer.
 */
export async function send({ method, url, headers = {}, body = null, signal }: Sent): Promise<Answer> {
  const { protocol, hostname } = new URL(url);
  if (protocol === 'https:') https ??= loadHttps();
  const way = protocol === 'https:' && https !== null ? await https : HTTP;
  signal?.throwIfAborted();
  const opened = body === null ? null : await open(body, signal);
  const length = body === null ? lengthWithout(method) : { 'Content-Length': String(body.size) };
  const request = way.request(url, {
    method,
    headers: { 'User-Agent': 'longshore', ...headers, ...length },
    // Programs in Go never ask a proxy for this machine, which it cannot reach. It would get the password of the admin, too.
    agent: isLoopback(hostname) ? way.agent : way.proxied,
  });
  const answered = answerOf(request);
  const abort = () => request.destroy(new Error('aborted'));
  signal?.addEventListener('abort', abort, { once: true });
  try {
    const isWhole =
      body === null || opened === null ? endWithout(request) : await sendBody(request, body, opened);
    request.setTimeout(ANSWER_MS);
    const message = await answered;
    // The server did not read the rest of the body, so the connection cannot be used again.
    if (!isWhole) message.once('close', () => request.destroy());
    const end = () => message.destroy(signal?.reason);
    signal?.addEventListener('abort', end, { once: true });
    message.once('close', () => signal?.removeEventListener('abort', end));
    return { status: message.statusCode ?? 0, header: (name) => headerOf(message, name), body: message };
  } catch (error) {
    request.destroy();
    throw signal?.aborted ? signal.reason : error;
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}

/** Reads and drops the rest of an answer, so that its connection can be used again. A long or slow rest ends the connection. */
export function discard({ body }: Answer): void {
  const end = () => body.destroy();
  const timer = setTimeout(end, DISCARD_MS);
  let left = ERROR_BODY_MAX_BYTES;
  body.on('error', () => {});
  body.on('close', () => clearTimeout(timer));
  body.on('data', (piece: Buffer) => {
    left -= piece.length;
    if (left < 0) end();
  });
}

/** The whole body. Throws ConnectionLost; throws a CommandFailure if it is longer than `maxBytes`. */
export async function readAll({ body }: Answer, maxBytes: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let size = 0;
  try {
    for await (const piece of body as AsyncIterable<Buffer>) {
      size += piece.length;
      if (size > maxBytes) break;
      pieces.push(piece);
    }
  } catch (error) {
    throw lost(error);
  }
  if (size > maxBytes) {
    throw new CommandFailure(
      `An answer is longer than ${maxBytes} bytes.\nCheck that the address is that of a registry, and what stands in front of it.`,
    );
  }
  return Buffer.concat(pieces);
}

/** The beginning of the body of an error, as text. Never throws. */
export async function readErrorText(answer: Answer): Promise<string> {
  try {
    return (await readAll(answer, ERROR_BODY_MAX_BYTES)).toString();
  } catch {
    answer.body.destroy();
    return '';
  }
}

function lengthWithout(method: string): Record<string, string> {
  return ['POST', 'PUT', 'PATCH'].includes(method) ? { 'Content-Length': '0' } : {};
}

function endWithout(request: ClientRequest): true {
  request.end();
  return true;
}

function headerOf(message: IncomingMessage, name: string): string | null {
  const value = message.headers[name.toLowerCase()];
  return (Array.isArray(value) ? value.join(', ') : value) ?? null;
}

function answerOf(request: ClientRequest): Promise<IncomingMessage> {
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    request.setTimeout(IDLE_MS, () => request.destroy(new Error('the server was silent for too long')));
    request.once('response', resolve);
    // After an early answer the server closes the connection, and the rest of the body fails. That is no error.
    request.on('error', (error) => reject(lost(error)));
    request.once('close', () => reject(new ConnectionLost('the connection was closed before an answer')));
  });
  // While the body is being sent, the promise has no other reader.
  answered.catch(() => {});
  return answered;
}

/** A body whose first piece is ready. */
interface Opened {
  readonly pieces: AsyncIterator<Uint8Array>;
  readonly first: IteratorResult<Uint8Array>;
}

/**
 * Waits for the first piece. A layer may first have to be compressed, and servers close a connection on which nothing comes for a
 * minute.
 */
async function open(body: Body, signal: AbortSignal | undefined): Promise<Opened> {
  const pieces = body.open()[Symbol.asyncIterator]();
  const asked = pieces.next();
  const aborted = deferred<never>();
  const abort = () => aborted.reject(signal?.reason);
  signal?.addEventListener('abort', abort, { once: true });
  try {
    return { pieces, first: await Promise.race([aborted.promise, asked]) };
  } catch (error) {
    asked.then(() => pieces.return?.()).catch(() => {});
    throw error;
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}

/** False if the server answered, or the connection ended, before the whole body was sent. */
async function sendBody(request: ClientRequest, body: Body, { pieces, first }: Opened): Promise<boolean> {
  const over = deferred<null>();
  for (const event of ['response', 'close']) request.once(event, () => over.resolve(null));
  let size = 0;
  for (let isFirst = true; ; isFirst = false) {
    // The source may wait for bytes of its own, and the end of the request must not. After the last byte the source only checks itself,
    // and the server may answer before it has.
    const asked = isFirst ? Promise.resolve(first) : pieces.next();
    const next = size === body.size ? await asked : await Promise.race([over.promise, asked]);
    if (next?.done === true) break;
    size += next?.value.length ?? 0;
    const isSent =
      next !== null && size <= body.size && (await write(request, next.value, body, over.promise));
    if (isSent) continue;
    asked.then(() => pieces.return?.()).catch(() => {});
    if (size <= body.size) return false;
    break;
  }
  if (size !== body.size) throw new SourceChanged();
  request.end();
  return true;
}

/** True when the system has all bytes of the piece, and its memory can be used again. False if no more can be sent. */
async function write(
  request: ClientRequest,
  piece: Uint8Array,
  { sent }: Body,
  over: Promise<null>,
): Promise<boolean> {
  const written = deferred<boolean>();
  request.write(piece, (error) => written.resolve(!error));
  sent?.(piece.length);
  return (await Promise.race([written.promise, over])) ?? false;
}

/** The source gave more or fewer bytes than it had said. */
export class SourceChanged extends Error {
  override readonly name = 'SourceChanged';
  constructor() {
    super('The source changed while it was read.');
  }
}

function lost(error: unknown): ConnectionLost {
  const { code, message } = error as NodeJS.ErrnoException;
  return new ConnectionLost(code ?? message, { cause: error });
}

/** A body of bytes that are in memory. */
export function bodyOf(bytes: Uint8Array): Body {
  return { size: bytes.length, open: () => Readable.from([bytes], { objectMode: false }) };
}
