// A proxy of the tests' own in front of a registry or a blob host: it writes down what a real client asks and what it is
// answered, can let in only those who log in, and can end a body early, as a bad network does.
import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';

/** A request that passed, with its answer. */
export interface Passed {
  method: string;
  /** Path and query. */
  path: string;
  range: string | undefined;
  authorization: string | undefined;
  status: number;
  location: string | undefined;
  /** Whether the answer's body was ended early. */
  cut: boolean;
}

export interface ProxyOptions {
  /** The name that its URL has; it listens on 127.0.0.1 all the same. */
  host?: string;
  /** The value of Authorization without which nothing below /v2/ is answered. */
  authorization?: string;
}

export class RecordingProxy {
  /** Where the requests go. It may be set after the start, for those who have to know the proxy before they can start. */
  target = '';
  /** In the order of the answers. */
  readonly passed: Passed[] = [];
  readonly #server: Server;
  readonly #host: string;
  #cutAtBytes: number | null = null;

  private constructor(server: Server, host: string) {
    this.#server = server;
    this.#host = host;
  }

  static async start({ host = '127.0.0.1', authorization }: ProxyOptions = {}): Promise<RecordingProxy> {
    const server = createServer();
    const proxy = new RecordingProxy(server, host);
    server.on('request', (incoming: IncomingMessage, outgoing: ServerResponse) => {
      const open = !incoming.url?.startsWith('/v2/');
      if (authorization === undefined || open || incoming.headers.authorization === authorization) {
        proxy.#pass(incoming, outgoing);
      } else {
        const errors = [{ code: 'UNAUTHORIZED', message: 'log in' }];
        proxy.#remember(incoming, 401, undefined, false);
        outgoing.writeHead(401, { 'WWW-Authenticate': 'Basic realm="tests"' });
        outgoing.end(JSON.stringify({ errors }));
      }
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return proxy;
  }

  /** Without a slash at the end. */
  get url(): string {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the proxy does not listen');
    return `http://${this.#host}:${address.port}`;
  }

  /** The next body that is longer ends after that number of bytes, and its connection with it. */
  cutNextAt(bytes: number): void {
    this.#cutAtBytes = bytes;
  }

  async stop(): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, 'close');
  }

  #pass(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const { method = '', url = '', headers } = incoming;
    // A connection for each request: none can have been closed at the moment when it is used again.
    const upstream = request(`${this.target}${url}`, { method, headers, agent: false });
    upstream.on('response', async (answer) => {
      const { statusCode = 0, headers: given } = answer;
      const cutAt = this.#cutFor(method, statusCode, Number(given['content-length']));
      this.#remember(incoming, statusCode, given.location, cutAt !== null);
      for (const [name, value] of Object.entries(given)) {
        // This header is about the connection to the registry.
        if (name !== 'connection' && value !== undefined) outgoing.setHeader(name, value);
      }
      if (cutAt !== null) outgoing.setHeader('Connection', 'close');
      outgoing.writeHead(statusCode);
      outgoing.flushHeaders();
      // If the client or the registry breaks off, the other side is told.
      const passing = cutAt === null ? pipeline(answer, outgoing) : pipeline(answer, until(cutAt), outgoing);
      await passing.catch(() => outgoing.destroy());
    });
    upstream.on('error', () => outgoing.destroy());
    outgoing.on('close', () => upstream.destroy());
    incoming.pipe(upstream);
  }

  /** How much of this body is to pass, or null for all of it. */
  #cutFor(method: string, status: number, bytes: number): number | null {
    const cutAt = this.#cutAtBytes;
    if (cutAt === null || method !== 'GET' || status >= 300 || !(bytes > cutAt)) return null;
    this.#cutAtBytes = null;
    return cutAt;
  }

  #remember(incoming: IncomingMessage, status: number, location: string | undefined, cut: boolean): void {
    const { method = '', url = '', headers } = incoming;
    this.passed.push({
      method,
      path: url,
      range: headers.range,
      authorization: headers.authorization,
      status,
      location,
      cut,
    });
  }
}

function until(bytes: number) {
  return async function* (body: AsyncIterable<Buffer>) {
    let left = bytes;
    for await (const piece of body) {
      yield piece.subarray(0, left);
      left -= piece.length;
      if (left <= 0) return;
    }
  };
}
