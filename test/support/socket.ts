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

export interface RawAnswer {
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
export function bytesOf(origin: string, { method, target, lines = [], body = '' }: Head): Buffer {
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
export function parse(received: Buffer, closed: boolean): RawAnswer | null {
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
