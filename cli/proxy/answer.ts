// Answers that the proxy gives itself, and answers of the registry that it passes on.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { OciError } from '../../worker/oci/errors.ts';
import { CommandFailure } from '../failure.ts';
import { type Answer, ConnectionLost, discard } from '../transfer/http.ts';
import { RegistryError } from '../transfer/registry.ts';
import { UploadLost } from '../transfer/upload.ts';
import { answerHeaders } from './headers.ts';

/** One request of a client. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly method: string;
  /** `/v2/...`. */
  readonly path: string;
  /** With its "?", or "". */
  readonly query: string;
  /** The origin by which the client knows the proxy. */
  readonly proxy: string;
  /** Aborted when the client has gone. */
  readonly signal: AbortSignal;
}

/** After an early answer, a client may still send its body for this long. */
const REST_MS = 10_000;

export function reply(
  { response }: Exchange,
  status: number,
  headers: Record<string, string | number> = {},
): void {
  response.writeHead(status, { 'Content-Length': 0, ...headers });
  response.end();
}

/** Passes an answer on, word for word. */
export async function relay(exchange: Exchange, answer: Answer, origin: string): Promise<void> {
  const { response, method, proxy } = exchange;
  response.writeHead(answer.status, answerHeaders(answer.body.headers, origin, proxy));
  if (method === 'HEAD' || answer.status === 204 || answer.status === 304) {
    discard(answer);
    response.end();
    return;
  }
  // The client learns from the closed connection that the body is not complete.
  await pipeline(answer.body, response).catch(() => response.destroy());
}

/** Answers with the error that was thrown. Returns the message of an error that is a bug, or null. */
export function refuse(exchange: Exchange, error: unknown, origin: string): string | null {
  const { request, response, proxy, method, signal } = exchange;
  if (signal.aborted || response.headersSent) {
    response.destroy();
    return null;
  }
  if (!request.complete) endSoon(request);
  if (error instanceof RegistryError && error.refusal !== null) {
    const { headers, body } = error.refusal;
    const { 'content-length': _, 'content-encoding': __, ...kept } = answerHeaders(headers, origin, proxy);
    response.writeHead(error.status, { ...kept, 'Content-Length': Buffer.byteLength(body) });
    response.end(method === 'HEAD' ? undefined : body);
    return null;
  }
  const { error: known, bug } = asOciError(error);
  // The page of the link is not below /v2/.
  const { Link: _, ...headers } = known.headers;
  const body = known.body();
  response.writeHead(known.status, {
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(body),
    ...headers,
  });
  response.end(method === 'HEAD' ? undefined : body);
  return bug;
}

function asOciError(error: unknown): { error: OciError; bug: string | null } {
  if (error instanceof OciError) return { error, bug: null };
  if (error instanceof UploadLost) {
    return { error: new OciError('BLOB_UPLOAD_UNKNOWN', { message: error.message }), bug: null };
  }
  if (error instanceof CommandFailure || error instanceof ConnectionLost) {
    return { error: new OciError('UNAVAILABLE', { status: 502, message: error.message }), bug: null };
  }
  const bug = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { error: new OciError('UNKNOWN', { message: 'an unexpected error of the proxy' }), bug };
}

/** The rest of the body is read and dropped: a client that still sends does not see the answer otherwise. */
function endSoon(request: IncomingMessage): void {
  const timer = setTimeout(() => request.socket.destroy(), REST_MS);
  request.once('close', () => clearTimeout(timer));
  request.on('error', () => {});
  request.resume();
}
