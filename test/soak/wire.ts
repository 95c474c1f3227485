/** The requests of one client of the soak, with their times: over connections that are kept, or over one of its own that it cuts. */
import { Agent, type IncomingHttpHeaders } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { answerTo, open } from '../support/http.ts';
import { cut } from '../support/socket.ts';

export interface Sent {
  headers?: Record<string, string>;
  body?: Buffer;
  /** Sends the body without saying how long it is. */
  chunked?: boolean;
  /** Sends the body in that number of pieces, with pauses between them, in ms. */
  slow?: { pieces: number; pauseMs: number };
}

/** An answer. `start` and `end` are when its request was sent and when the answer was whole (ms, `performance.now`). */
export interface Reply {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
  start: number;
  end: number;
}

/** There was no answer, or no whole one. */
export interface Lost {
  status: 0;
  why: string;
  /** The head of an answer was there, and its body broke off. */
  brokeOff: boolean;
  /** The connection had been used before: the server may have closed it while it was idle. */
  reused: boolean;
  start: number;
  end: number;
}

/** A request that is not answered for so long hangs. */
const HANGS_MS = 300_000;
const CONNECTIONS_MAX = 16;

export class Wire {
  origin: string;
  readonly #headers: Record<string, string>;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS_MAX });

  /** `headers` go with every request. */
  constructor(origin: string, headers: Record<string, string>) {
    this.origin = origin;
    this.#headers = headers;
  }

  async send(
    method: string,
    target: string,
    { headers = {}, body, chunked = false, slow }: Sent,
  ): Promise<Reply | Lost> {
    const start = performance.now();
    const length = chunked
      ? { 'Transfer-Encoding': 'chunked' }
      : { 'Content-Length': String(body?.length ?? 0) };
    const sized = method === 'GET' || method === 'HEAD' ? {} : length;
    const { origin, pathname, search } = new URL(target, this.origin);
    const request = open(origin, method, pathname + search, {
      agent: slow === undefined ? this.#agent : false,
      headers: { ...this.#headers, ...sized, ...headers },
      timeout: HANGS_MS,
    });
    request.on('timeout', () => request.destroy(new Error(`no answer in ${HANGS_MS / 1000} s`)));
    let brokeOff = false;
    request.on('response', () => {
      brokeOff = true;
    });
    const answered = answerTo(request);
    if (slow === undefined || body === undefined) request.end(body);
    else void sendSlowly(request, body, slow);
    try {
      const { status, headers: received, body: content } = await answered;
      return { status, headers: received, body: content, start, end: performance.now() };
    } catch (fault) {
      const why = fault instanceof Error ? fault.message : String(fault);
      const { reusedSocket: reused } = request;
      return { status: 0, why, brokeOff, reused, start, end: performance.now() };
    }
  }

  /**
   * Sends a request up to `at` bytes of its body, and cuts the connection `waitMs` later. Resolves with when it was sent and
   * when it was cut.
   */
  async cut(
    method: string,
    target: string,
    { headers = {}, body = Buffer.alloc(0), chunked = false }: Sent,
    at: number,
    waitMs: number,
  ): Promise<{ start: number; end: number }> {
    const { origin, pathname, search } = new URL(target, this.origin);
    const lines = Object.entries({
      Connection: 'keep-alive',
      ...this.#headers,
      ...(chunked ? { 'Transfer-Encoding': 'chunked' } : { 'Content-Length': String(body.length) }),
      ...headers,
    }).map(([name, value]) => `${name}: ${value}`);
    const some = body.subarray(0, at);
    const frame = [`${some.length.toString(16)}\r\n`, some, '\r\n'];
    const end = at >= body.length ? ['0\r\n\r\n'] : [];
    const pieces = chunked ? [...(some.length > 0 ? frame : []), ...end] : [some];
    const sent = Buffer.concat(pieces.map((piece) => Buffer.from(piece as string)));
    const start = performance.now();
    await cut(origin, { method, target: pathname + search, lines, body: sent }, waitMs);
    return { start, end: performance.now() };
  }

  /** Closes the connections that are kept. */
  close(): void {
    this.#agent.destroy();
  }
}

async function sendSlowly(
  request: ReturnType<typeof open>,
  body: Buffer,
  { pieces, pauseMs }: NonNullable<Sent['slow']>,
): Promise<void> {
  const size = Math.max(1, Math.ceil(body.length / pieces));
  for (let at = 0; at < body.length && !request.destroyed; at += size) {
    request.write(body.subarray(at, at + size));
    await sleep(pauseMs);
  }
  request.end();
}
