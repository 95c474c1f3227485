/**
 * The client for requests that fetch would change: the target as it is written, bodies without a length, headers that fetch sets
 * itself. It follows no redirect and repeats nothing. For bytes that are not a valid request there is `socket.ts`. What fetch
 * can send is sent with fetch.
 */
import * as http from 'node:http';
import * as https from 'node:https';

export interface Answer {
  status: number;
  headers: http.IncomingHttpHeaders;
  /** Names and values in turn, as they arrived. */
  rawHeaders: string[];
  body: Buffer;
}

export interface Sent {
  headers?: http.OutgoingHttpHeaders;
  body?: Uint8Array | string;
  /** Sends the body with `Transfer-Encoding: chunked` instead of its length. */
  chunked?: boolean;
  /** What keeps connections; without it each request has a connection of its own. */
  agent?: http.Agent;
  timeoutMs?: number;
}

/** Sends one request to an origin, with `target` as it goes into the request line. Throws if there is no complete answer. */
export function send(origin: string, method: string, target: string, sent: Sent = {}): Promise<Answer> {
  const { protocol, hostname, port } = new URL(origin);
  const { headers = {}, body, chunked = false, agent = false, timeoutMs = 0 } = sent;
  const hasLength = body !== undefined || ['POST', 'PUT', 'PATCH', 'DELETE'].includes(method);
  const length = chunked
    ? { 'Transfer-Encoding': 'chunked' }
    : { 'Content-Length': body === undefined ? 0 : Buffer.byteLength(body) };
  const options: https.RequestOptions = {
    method,
    // A URL has brackets around an IPv6 address.
    hostname: hostname.replace(/^\[|\]$/g, ''),
    port,
    path: target,
    headers: { ...(chunked || hasLength ? length : {}), ...headers },
    agent,
    timeout: timeoutMs,
  };
  return new Promise((resolve, reject) => {
    const request = (protocol === 'https:' ? https : http).request(options, (response) => {
      const pieces: Buffer[] = [];
      response.on('data', (piece: Buffer) => pieces.push(piece));
      response.on('error', reject);
      response.on('end', () => {
        const { statusCode = 0, headers: received, rawHeaders } = response;
        resolve({ status: statusCode, headers: received, rawHeaders, body: Buffer.concat(pieces) });
      });
    });
    request.on('timeout', () => request.destroy(new Error(`no answer in ${timeoutMs} ms`)));
    request.on('error', (error: NodeJS.ErrnoException) => {
      // The registry may close a kept connection just when it is used again.
      const { agent: _kept, ...alone } = sent;
      if (request.reusedSocket && error.code === 'ECONNRESET')
        send(origin, method, target, alone).then(resolve, reject);
      else reject(error);
    });
    request.end(body);
  });
}
