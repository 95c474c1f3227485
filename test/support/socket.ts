/** The client for requests that no HTTP library sends: the bytes go over the connection as they are. See `http.ts`. */
import { connect, type Socket } from 'node:net';

export interface Head {
  method: string;
  /** The request target, as it is. */
  target: string;
  /** Complete lines. `Host`, `Connection` and `Content-Length` are added if they are missing. */
  lines?: string[];
  body?: string | Uint8Array;
}

interface RawAnswer {
  /** 0 if the connection was closed without an answer. */
  status: number;
  /** Names and values in turn. */
  rawHeaders: string[];
  body: Buffer;
}

/** Opens a connection. An error ends it, and is otherwise ignored: the test looks at what arrived. */
export function open(origin: string, allowHalfOpen = false): Socket {
  const { hostname, port } = new URL(origin);
  const socket = connect({ host: hostname, port: Number(port), allowHalfOpen });
  socket.on('error', () => undefined);
  return socket;
}

/** The bytes of a head and its body. */
function bytesOf(origin: string, { method, target, lines = [], body = '' }: Head): Buffer {
  const has = (name: string) => lines.some((line) => line.toLowerCase().startsWith(`${name}:`));
  const isFramed = has('content-length') || has('transfer-encoding');
  const head = [
    `${method} ${target} HTTP/1.1`,
    ...(has('host') ? [] : [`Host: ${new URL(origin).host}`]),
    ...(has('connection') ? [] : ['Connection: close']),
    ...(body.length === 0 || isFramed ? [] : [`Content-Length: ${body.length}`]),
    ...lines,
  ];
  return Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`, 'latin1'), Buffer.from(body)]);
}

/** Opens a connection, sends a head and a body, and leaves the connection open. */
export function begin(origin: string, head: Head): Socket {
  const socket = open(origin);
  socket.write(bytesOf(origin, head));
  return socket;
}

/** The first answer that is not `100 Continue`, or null until it is complete. `closed`: no more bytes come. */
function parse(received: Buffer, closed: boolean): RawAnswer | null {
  const headEnd = received.indexOf('\r\n\r\n');
  if (headEnd === -1) return null;
  const [statusLine = '', ...lines] = received.subarray(0, headEnd).toString('latin1').split('\r\n');
  const status = Number(statusLine.split(' ')[1]);
  const body = received.subarray(headEnd + 4);
  if (status < 200) return parse(body, closed);
  const fields = lines.map((line): [string, string] => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon), line.slice(colon + 1).trim()];
  });
  const [, length] = fields.find(([name]) => name.toLowerCase() === 'content-length') ?? [];
  const isComplete = closed || (length !== undefined && body.length >= Number(length));
  return isComplete ? { status, rawHeaders: fields.flat(), body } : null;
}

/** Nothing arrives for this time: the answer is not awaited longer. */
const SILENCE_MS = 30_000;

/**
 * Sends a head with its body, or any bytes, and reads one answer until it is complete or the connection is closed. Without an answer the status is 0, and the
 * body is what arrived. `ends`: the client ends its side after the bytes. Throws if nothing arrives for 30 s.
 */
export function exchange(origin: string, sent: Head | string | Buffer, ends = false): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    const socket = open(origin, true);
    let received = Buffer.alloc(0);
    const finish = (closed: boolean) => {
      const answer = parse(received, closed) ?? { status: 0, rawHeaders: [], body: received };
      if (answer.status === 0 && !closed) return;
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(SILENCE_MS, () => {
      socket.destroy();
      reject(
        new Error(`no answer in ${SILENCE_MS} ms after ${JSON.stringify(String(received.subarray(0, 200)))}`),
      );
    });
    socket.on('data', (piece) => {
      received = Buffer.concat([received, piece]);
      finish(false);
    });
    socket.on('end', () => finish(true));
    // A server that reads no further resets the connection. What arrived before that counts.
    socket.on('close', () => finish(true));
    if (typeof sent === 'string') socket.write(sent, 'latin1');
    else socket.write('target' in sent ? bytesOf(origin, sent) : sent);
    if (ends) socket.end();
  });
}

/** Sends a head and some of the body that it announces, and cuts the connection, after a wait if there is one. */
export function cut(origin: string, head: Head, waitMs = 0): Promise<void> {
  const socket = open(origin);
  return new Promise((resolve) => {
    socket.on('close', () => resolve()).resume();
    socket.write(bytesOf(origin, head), () => {
      if (waitMs === 0) socket.destroy();
      else setTimeout(() => socket.destroy(), waitMs);
    });
  });
}
