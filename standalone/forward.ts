// The reverse proxy between TLS and workerd. Bodies stream both ways at the speed of the slower side, headers are passed on
// unchanged, and if one side closes its connection, the other side's is closed too. Decision 27 says why it is our own.
import { Agent, type ClientRequest, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { helpLink } from '../worker/oci/errors.ts';
import { CF_HEADER, PROTOCOL_HEADER } from './config.ts';

/** As much as workerd reads, and more than the longest Authorization header. */
export const HEADERS_MAX_BYTES = 64 * 1024;
/** Workerd closes a connection after 15 idle seconds. Ours must end earlier, so that no request is sent on a closing one. */
const IDLE_MS = 10_000;
/** How long a client may continue to send after it got the answer. Then its connection is closed. */
const LINGER_MS = 5_000;

/**
 * Headers for one connection only (RFC 9110, section 7.6.1). Transfer-Encoding stays, because Node frames the body by it. Headers that
 * `Connection` names stay too: a client could name X-Forwarded-For, a proxy may pass that on, and the proxy would seem to be the client.
 */
const HOP_BY_HOP = ['connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'upgrade'];
/** Headers that only this server may set. */
const OWN = [CF_HEADER, PROTOCOL_HEADER].map((name) => name.toLowerCase());

/** Connects to workerd on its Unix socket. */
export function upstreamAgent(socketPath: string): Agent {
  const agent = new Agent({ keepAlive: true, timeout: IDLE_MS });
  agent.createConnection = () => new PatientSocket().connect({ path: socketPath });
  return agent;
}

// Workerd closes the connection soon after it refuses a body. Node destroys a socket when a write fails, and loses the answer
// that waits in it. This socket ignores errors of writes: the read side reports them too, after the answer.
class PatientSocket extends Socket {
  override _write(chunk: unknown, encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    super._write(chunk, encoding, () => done());
  }

  override _writev(
    chunks: { chunk: unknown; encoding: BufferEncoding }[],
    done: (error?: Error | null) => void,
  ): void {
    super._writev?.(chunks, () => done());
  }
}

export function forward(incoming: IncomingMessage, response: ServerResponse, agent: Agent): void {
  let outgoing: ClientRequest;
  // With two Host headers, one program may use the first and another the last (RFC 9112, section 3.2).
  if ((incoming.headersDistinct.host ?? []).length > 1) {
    refuse(incoming, response, 400, 'the request has more than one Host header');
    return;
  }
  try {
    outgoing = request({
      agent,
      method: incoming.method ?? 'GET',
      path: incoming.url ?? '/',
      headers: requestHeaders(incoming),
      maxHeaderSize: HEADERS_MAX_BYTES,
    });
  } catch {
    // Node accepts some requests that it refuses to send.
    refuse(incoming, response, 400, 'the request cannot be understood');
    return;
  }
  outgoing.on('continue', () => response.writeContinue());
  outgoing.on('response', (answer) => relay(answer, incoming, response));
  outgoing.on('error', () => {
    if (!response.headersSent) refuse(incoming, response, 502, 'the registry did not answer');
    else if (!response.writableEnded) response.destroy();
    // The answer is complete, although the body was not sent to its end.
    else incoming.unpipe(outgoing).resume();
  });
  incoming.on('close', () => {
    if (!incoming.complete) outgoing.destroy();
  });
  response.on('close', () => {
    if (!response.writableFinished) outgoing.destroy();
  });
  incoming.pipe(outgoing);
}

function relay(answer: IncomingMessage, incoming: IncomingMessage, response: ServerResponse): void {
  response.sendDate = false;
  response.writeHead(answer.statusCode ?? 502, answer.statusMessage, pairs(answer.rawHeaders, HOP_BY_HOP));
  answer.on('error', () => response.destroy());
  answer.on('close', () => {
    if (!answer.complete) response.destroy();
  });
  linger(incoming, response);
  answer.pipe(response);
}

function refuse(incoming: IncomingMessage, response: ServerResponse, status: number, message: string): void {
  const body = JSON.stringify({ errors: [{ code: 'UNKNOWN', message }] });
  linger(incoming, response);
  const headers = {
    'Content-Type': 'application/json',
    'Content-Length': body.length,
    'Cache-Control': 'no-store',
    Link: helpLink('UNKNOWN'),
  };
  response.writeHead(status, headers).end(body);
  incoming.unpipe().resume();
}

// Most clients send the whole body before they read. If the connection closed at once, they would not see the answer.
function linger(incoming: IncomingMessage, response: ServerResponse): void {
  response.on('finish', () => {
    if (incoming.complete) return;
    const timer = setTimeout(() => incoming.socket.destroy(), LINGER_MS).unref();
    for (const event of ['end', 'close']) incoming.once(event, () => clearTimeout(timer));
  });
}

// Headers that name the origin of the request are passed on, because the Worker knows which proxies to trust.
function requestHeaders(incoming: IncomingMessage): string[] {
  const { rawHeaders, headers, socket, method } = incoming;
  const clientIp = (socket.remoteAddress ?? '').replace(/^::ffff:(?=\d+\.)/, '');
  const dropped = [...HOP_BY_HOP, ...OWN];
  const isFramed = headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined;
  return [
    ...pairs(rawHeaders, dropped),
    // A request without these headers has no body, but Node would announce one.
    ...(isFramed || method === 'GET' || method === 'HEAD' ? [] : ['Content-Length', '0']),
    ...[PROTOCOL_HEADER, 'https', CF_HEADER, JSON.stringify({ clientIp })],
  ];
}

/** The alternating names and values, without the dropped headers. */
function pairs(raw: string[], dropped: readonly string[]): string[] {
  return raw.filter((_, at) => !dropped.includes((raw[at - (at % 2)] ?? '').toLowerCase()));
}
