/** How a client of the soak sends requests: over connections that are kept, or over one of its own that it cuts. */
import { Agent, request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

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

  send(
    method: string,
    target: string,
    { headers = {}, body, chunked = false, slow }: Sent,
  ): Promise<Reply | Lost> {
    const start = performance.now();
    const length = chunked
      ? { 'Transfer-Encoding': 'chunked' }
      : { 'Content-Length': String(body?.length ?? 0) };
    const sized = method === 'GET' || method === 'HEAD' ? {} : length;
    return new Promise((resolve) => {
      let brokeOff = false;
      const lost = (fault: Error) => {
        const { reusedSocket: reused } = request;
        resolve({ status: 0, why: fault.message, brokeOff, reused, start, end: performance.now() });
      };
      const request = httpRequest(
        new URL(target, this.origin).href,
        {
          method,
          agent: slow === undefined ? this.#agent : false,
          headers: { ...this.#headers, ...sized, ...headers },
          timeout: HANGS_MS,
        },
        (response) => {
          brokeOff = true;
          const pieces: Buffer[] = [];
          response.on('data', (piece: Buffer) => pieces.push(piece));
          response.on('error', lost);
          response.on('end', () => {
            const { statusCode: status = 0, headers: answered } = response;
            resolve({
              status,
              headers: answered,
              body: Buffer.concat(pieces),
              start,
              end: performance.now(),
            });
          });
        },
      );
      request.on('error', lost);
      request.on('timeout', () => request.destroy(new Error(`no answer in ${HANGS_MS / 1000} s`)));
      if (slow === undefined || body === undefined) {
        request.end(body);
        return;
      }
      void (async () => {
        const size = Math.max(1, Math.ceil(body.length / slow.pieces));
        for (let at = 0; at < body.length && !request.destroyed; at += size) {
          request.write(body.subarray(at, at + size));
          await sleep(slow.pauseMs);
        }
        request.end();
      })();
    });
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
    const { hostname, port, pathname, search } = new URL(target, this.origin);
    const lines = Object.entries({
      Host: `${hostname}:${port}`,
      ...this.#headers,
      ...(chunked ? { 'Transfer-Encoding': 'chunked' } : { 'Content-Length': String(body.length) }),
      ...headers,
    }).map(([name, value]) => `${name}: ${value}\r\n`);
    const some = body.subarray(0, at);
    const frame = chunked && some.length > 0 ? [`${some.length.toString(16)}\r\n`, some, '\r\n'] : [some];
    const end = chunked && at >= body.length ? ['0\r\n\r\n'] : [];
    const start = performance.now();
    await new Promise<void>((resolve) => {
      const socket = connect(Number(port), hostname);
      socket.on('error', () => resolve());
      socket.on('data', () => undefined);
      const bytes = [`${method} ${pathname}${search} HTTP/1.1\r\n${lines.join('')}\r\n`, ...frame, ...end];
      socket.write(Buffer.concat(bytes.map((piece) => Buffer.from(piece as string))), () => {
        setTimeout(() => {
          socket.destroy();
          resolve();
        }, waitMs);
      });
    });
    return { start, end: performance.now() };
  }

  /** Closes the connections that are kept. */
  close(): void {
    this.#agent.destroy();
  }
}
