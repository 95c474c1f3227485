// Hands a request that came over TLS to workerd, and its answer back: bodies stream both ways at the pace
// of the slower side, headers go as they came, and whoever goes away takes the other side along.
import { Agent, type ClientRequest, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { helpLink } from '../worker/oci/errors.ts';
import { CF_HEADER, PROTOCOL_HEADER } from './config.ts';

/** More than an Authorization header may have, and as much as workerd reads. */
export const HEADERS_MAX_BYTES = 64 * 1024;
/** Workerd closes a connection that has been idle for 15 seconds: it is not to close one as a request goes out on it. */
const IDLE_MS = 10_000;
/** How long a client may go on sending when it has its answer, before its connection is cut. */
const LINGER_MS = 5_000;

/** Of one connection only (RFC 9110, section 7.6.1). Transfer-Encoding stays, since Node frames the body by it. */
const HOP_BY_HOP = ['connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'upgrade'];
const FRAMING = ['host', 'content-length', 'transfer-encoding'];
/** Only this server may say what these say. */
const OWN = [CF_HEADER, PROTOCOL_HEADER].map((name) => name.toLowerCase());

/** Connects to workerd on its Unix socket. */
export function upstreamAgent(socketPath: string): Agent {
  const agent = new Agent({ keepAlive: true, timeout: IDLE_MS });
  agent.createConnection = () => new PatientSocket().connect({ path: socketPath });
  return agent;
}

// Workerd closes the connection soon after it has refused a body. A socket of Node's that cannot be written any more is
// gone at once, with the answer that waits in it: this one is read to its end, which tells of any fault as well.
class PatientSocket extends Socket {
  override _write(chunk: unknown, encoding: BufferEncoding, done: (fault?: Error | null) => void): void {
    super._write(chunk, encoding, () => done());
  }

  override _writev(
    chunks: { chunk: unknown; encoding: BufferEncoding }[],
    done: (fault?: Error | null) => void,
  ): void {
    super._writev?.(chunks, () => done());
  }
}

export function forward(incoming: IncomingMessage, response: ServerResponse, agent: Agent): void {
  let outgoing: ClientRequest;
  // Of two hosts, one reader takes the first and another the last (RFC 9112, section 3.2).
  if ((incoming.headersDistinct.host ?? []).length > 1) {
    refuse(incoming, response, 400, 'there is more than one Host header');
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
    // What Node reads, but does not write.
    refuse(incoming, response, 400, 'the request cannot be understood');
    return;
  }
  outgoing.on('continue', () => response.writeContinue());
  outgoing.on('response', (answer) => relay(answer, incoming, response));
  outgoing.on('error', () => {
    if (!response.headersSent) refuse(incoming, response, 502, 'the registry did not answer');
    else if (!response.writableEnded) response.destroy();
    // An answer that came before the whole body was sent is whole all the same.
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
    Link: helpLink('UNKNOWN'),
  };
  response.writeHead(status, headers).end(body);
  incoming.unpipe().resume();
}

// Most clients write their whole body before they read. A connection that were closed at once would take the answer with it.
function linger(incoming: IncomingMessage, response: ServerResponse): void {
  response.on('finish', () => {
    if (incoming.complete) return;
    const timer = setTimeout(() => incoming.socket.destroy(), LINGER_MS).unref();
    for (const event of ['end', 'close']) incoming.once(event, () => clearTimeout(timer));
  });
}

// What the client or a proxy says of where the request comes from goes through: the Worker knows which proxies to believe.
function requestHeaders(incoming: IncomingMessage): string[] {
  const { rawHeaders, headers, socket, method } = incoming;
  const clientIp = (socket.remoteAddress ?? '').replace(/^::ffff:(?=\d+\.)/, '');
  const named = (headers.connection ?? '').split(',').map((name) => name.trim().toLowerCase());
  const dropped = [...HOP_BY_HOP, ...OWN, ...named.filter((name) => !FRAMING.includes(name))];
  const isFramed = headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined;
  return [
    ...pairs(rawHeaders, dropped),
    // A request that says nothing of a body has none, and Node would say that one follows.
    ...(isFramed || method === 'GET' || method === 'HEAD' ? [] : ['Content-Length', '0']),
    ...[PROTOCOL_HEADER, 'https', CF_HEADER, JSON.stringify({ clientIp })],
  ];
}

/** Names and values in turns, as they came but for some. */
function pairs(raw: string[], dropped: readonly string[]): string[] {
  return raw.filter((_, at) => !dropped.includes((raw[at - (at % 2)] ?? '').toLowerCase()));
}
