/** A front of a registry that fails as a network does: it cuts connections, loses answers, and answers in place of the registry. */
import { request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { type Served, serve } from '../../support/serve.ts';

export interface Passing {
  readonly method: string;
  readonly path: string;
  /** The number of this request among those of its method, from 1. */
  readonly number: number;
  /** The number of this request among all, from 1. */
  readonly total: number;
}

/** What happens to a request; undefined lets it pass. */
export type Fault =
  | undefined
  /** The connection is cut after this many bytes of the body have passed. */
  | { cutAfter: number; after?: () => unknown }
  /** The registry gets the request, and the client no answer. */
  | { loseAnswer: true; after?: () => unknown }
  /** The client gets this answer, and the registry no request. */
  | { status: number; headers?: Record<string, string>; body?: string };

export interface Front extends Served {
  /** Every request that passed, and the bytes of its body. */
  readonly passed: { method: string; path: string; bytes: number }[];
}

export async function startFront(
  target: () => string,
  decide: (passing: Passing) => Fault | Promise<Fault> = () => undefined,
  /** Headers that answers lose on the way, in lower case. */
  lost: readonly string[] = [],
): Promise<Front> {
  const passed: Front['passed'] = [];
  const counts = new Map<string, number>();
  let total = 0;
  const served = await serve(async (incoming, response) => {
    const { method = '', url: path = '' } = incoming;
    const number = (counts.get(method) ?? 0) + 1;
    counts.set(method, number);
    total += 1;
    // A request that waits for the decision must not be lost.
    incoming.pause();
    const fault = await decide({ method, path, number, total });
    if (fault !== undefined && 'status' in fault) {
      incoming.resume();
      incoming.on('end', () => response.writeHead(fault.status, fault.headers).end(fault.body));
      return;
    }
    const record = { method, path, bytes: 0 };
    passed.push(record);
    pass(incoming, response, fault, record);
  });
  const pass = (
    incoming: IncomingMessage,
    response: ServerResponse,
    fault: Exclude<Fault, { status: number }>,
    record: { bytes: number },
  ) => {
    const outgoing = httpRequest(`${target()}${incoming.url}`, {
      method: incoming.method ?? 'GET',
      headers: incoming.headers,
    });
    const cut = () => {
      outgoing.destroy();
      incoming.socket.destroy();
      return fault?.after?.();
    };
    outgoing.on('response', (answer) => {
      if (fault !== undefined && 'loseAnswer' in fault) {
        answer.resume();
        answer.on('end', cut);
        return;
      }
      const headers = Object.entries(answer.headers).filter(([name]) => !lost.includes(name));
      response.writeHead(answer.statusCode ?? 502, Object.fromEntries(headers));
      answer.pipe(response);
      answer.on('error', () => response.destroy());
    });
    outgoing.on('error', () => incoming.socket.destroy());
    response.on('close', () => outgoing.destroy());
    const limit = fault !== undefined && 'cutAfter' in fault ? fault.cutAfter : Number.POSITIVE_INFINITY;
    if (limit === 0) return void cut();
    incoming.on('data', (piece: Buffer) => {
      const room = limit - record.bytes;
      const kept = piece.length < room ? piece : piece.subarray(0, room);
      record.bytes += kept.length;
      const isCut = record.bytes >= limit;
      const isFull = !outgoing.write(kept, () => isCut && cut());
      if (isCut || isFull) incoming.pause();
      if (isFull && !isCut) outgoing.once('drain', () => incoming.resume());
    });
    incoming.on('end', () => outgoing.end());
    incoming.on('error', () => outgoing.destroy());
    incoming.resume();
  };
  return { ...served, passed };
}

/** The bytes of blobs that passed. */
export function blobBytes({ passed }: Front): number {
  return passed
    .filter(({ path }) => path.includes('/blobs/uploads/'))
    .reduce((sum, { bytes }) => sum + bytes, 0);
}
