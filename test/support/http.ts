/**
 * The client for requests that fetch would change: the target as it is written, bodies without a length, headers that fetch sets
 * itself, bodies that the test writes piece by piece. It follows no redirect. What fetch can send is sent by `visitor.ts`. Bytes that
 * are not a valid request are sent by `socket.ts`. Tests have no other HTTP client.
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
export async function send(origin: string, method: string, target: string, sent: Sent = {}): Promise<Answer> {
  const { headers = {}, body, chunked = false, agent = false, timeoutMs = 0 } = sent;
  const hasLength = body !== undefined || ['POST', 'PUT', 'PATCH', 'DELETE'].includes(method);
  const length = chunked
    ? { 'Transfer-Encoding': 'chunked' }
    : { 'Content-Length': body === undefined ? 0 : Buffer.byteLength(body) };
  const request = open(origin, method, target, {
    headers: { ...(chunked || hasLength ? length : {}), ...headers },
    agent,
    timeout: timeoutMs,
  });
  request.on('timeout', () => request.destroy(new Error(`no answer in ${timeoutMs} ms`)));
  let isAnswered = false;
  request.on('response', () => {
    isAnswered = true;
  });
  request.end(body);
  try {
    return await answerTo(request);
  } catch (error) {
    // The registry may close a kept connection just when it is used again.
    const wasClosed = request.reusedSocket && !isAnswered && codeOf(error) === 'ECONNRESET';
    if (!wasClosed) throw error;
    const { agent: _kept, ...alone } = sent;
    return send(origin, method, target, alone);
  }
}

/**
 * Starts a request whose body the test writes, over a connection of its own unless an agent is given. The test ends or destroys
 * it.
 */
export function open(
  origin: string,
  method: string,
  target: string,
  options: https.RequestOptions = {},
): http.ClientRequest {
  const { protocol, hostname, port } = new URL(origin);
  return (protocol === 'https:' ? https : http).request({
    method,
    // A URL has brackets around an IPv6 address.
    hostname: hostname.replace(/^\[|\]$/g, ''),
    port,
    path: target,
    agent: false,
    ...options,
  });
}

/** The whole answer to a request. Throws if the connection ends before it. Called before the answer can come. */
export function answerTo(request: http.ClientRequest): Promise<Answer> {
  return new Promise((resolve, reject) => {
    request.on('error', reject);
    request.on('response', (response) => {
      const pieces: Buffer[] = [];
      response.on('data', (piece: Buffer) => pieces.push(piece));
      response.on('error', reject);
      response.on('end', () => {
        const { statusCode = 0, headers, rawHeaders } = response;
        resolve({ status: statusCode, headers, rawHeaders, body: Buffer.concat(pieces) });
      });
    });
  });
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}
