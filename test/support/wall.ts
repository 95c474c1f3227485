/**
 * A front that refuses large request bodies as Cloudflare does: 413 and a closed connection, before the registry sees the request or in
 * the middle of a body of unknown length. Cloudflare docs, "Workers: limits, request body size".
 */
import { request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { type Served, serve } from './serve.ts';

export const WALL_BYTES = 100_000_000;

export interface Wall extends Served {
  /** Requests that were refused. */
  readonly refused: { method: string; path: string }[];
}

/** Starts a front of the registry at `target` (`http://HOST:PORT`). It forwards the Host header that it got. */
export async function startWall(target: string, maxBytes = WALL_BYTES): Promise<Wall> {
  const refused: Wall['refused'] = [];
  const served = await serve((incoming, response) => {
    if (Number(incoming.headers['content-length'] ?? 0) > maxBytes) return refuse(incoming, response);
    const outgoing = httpRequest(`${target}${incoming.url}`, {
      method: incoming.method ?? 'GET',
      headers: incoming.headers,
    });
    outgoing.on('response', (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
      answer.on('error', () => response.destroy());
    });
    outgoing.on('error', () => response.destroy());
    response.on('close', () => outgoing.destroy());
    let size = 0;
    incoming.on('data', (piece: Buffer) => {
      size += piece.length;
      if (size <= maxBytes) return;
      outgoing.destroy();
      refuse(incoming, response);
    });
    incoming.pipe(outgoing);
  });
  const refuse = (incoming: IncomingMessage, response: ServerResponse) => {
    refused.push({ method: incoming.method ?? '', path: incoming.url ?? '' });
    incoming.unpipe();
    incoming.pause();
    if (response.headersSent) return;
    response.writeHead(413, { 'Content-Type': 'text/html', Connection: 'close', Server: 'cloudflare' });
    response.end('<html><head><title>413 Request Entity Too Large</title></head></html>', () =>
      incoming.socket.destroySoon(),
    );
  };
  return { ...served, refused };
}
