/**
 * The routes of the Worker, and the one place that turns errors into answers.
 */
import { Hono } from 'hono';
import type { Services } from './distribution/exchange.ts';
import { distribution } from './distribution/routes.ts';
import { HELP_PATH, helpPage, OciError, TABLES_TOO_NEW, TooManyBodies } from './oci/errors.ts';
import { CHUNK_RECOMMENDED_BYTES } from './oci/limits.ts';
import { originOf } from './oci/origin.ts';

/** Of a body that is refused, this much is read before the answer, and less where no credentials came with it. */
const DRAIN_MAX_BYTES = 128 * 1024 * 1024;
/**
 * A client may send a chunk of the recommended size before it logs in. It sees a broken connection, and not the challenge, where
 * the chunk is not read to its end.
 */
const DRAIN_STRANGER_MAX_BYTES = CHUNK_RECOMMENDED_BYTES;

/** What the routes call. Each part is made at the first request that needs it, and throws UNAVAILABLE where a setting is wrong. */
export interface Parts {
  requestId(request: Request): string;
  services(): Services;
  /** Decides which name of the registry the answer uses (`oci/origin.ts`). Throws NAME_INVALID. */
  decideOrigin(request: Request): void;
  /** The package of the command `longshore`. */
  clientPackage(request: Request): Promise<Response>;
  /** The text at `/`. */
  welcome(): Promise<string>;
  /** Answers `/token`. */
  token(request: Request): Promise<Response>;
  /** Answers `/auth/login` and `/auth/callback`, where people sign in. */
  signIn: Record<'login' | 'callback', (request: Request) => Promise<Response>>;
  /** The keys that verify tokens, as a JSON Web Key Set (RFC 7517). */
  publishedKeys(): Promise<{ keys: JsonWebKey[] }>;
  /** The routes below `/api/v1`. */
  management: Hono;
  /** Answers signed URLs, where the registry is its own blob host. */
  blobHost(request: Request): Promise<Response>;
}

export function createApp(parts: Parts): Hono {
  const { requestId, services, blobHost, welcome, token, signIn, publishedKeys, management } = parts;
  const app = new Hono();
  // For load balancers. They use an address as the host, so this comes before the check of the host.
  app.get('/health', (c) => c.json({ status: 'ok' }));
  // Every error links to it. It says nothing about this registry, so no login is needed.
  app.get(HELP_PATH, (c) => c.text(helpPage()));
  app.use(async (c, next) => {
    // Workerd builds the URL from the Host header. A path in the header would become the path of the request, and a list of
    // two hosts makes no valid URL.
    if (/[/?#@\\\s,]/.test(c.req.header('Host') ?? ''))
      throw new OciError('NAME_INVALID', { message: 'the Host header is not the name of a host' });
    parts.decideOrigin(c.req.raw);
    refuseOtherSites(c.req.raw);
    await next();
  });
  app.all('/v2', (c) => distribution(c.req.raw, services()));
  app.all('/v2/*', (c) => distribution(c.req.raw, services()));
  app.all('/token', (c) => token(c.req.raw));
  app.get('/auth/login', (c) => signIn.login(c.req.raw));
  app.get('/auth/callback', (c) => signIn.callback(c.req.raw));
  app.get('/.well-known/jwks.json', async (c) =>
    c.json(await publishedKeys(), 200, { 'Cache-Control': 'public, max-age=300' }),
  );
  app.route('/api/v1', management);
  app.all('/blob-host/*', (c) => blobHost(c.req.raw));
  // Anyone may have the client. It says nothing about this registry.
  app.get('/cli.tgz', (c) => parts.clientPackage(c.req.raw));
  app.get('/', async (c) => c.text(`${await welcome()}\n`));
  app.notFound(() =>
    answerTo(new OciError('NAME_UNKNOWN', { message: 'nothing is here: the API is at /v2/' })),
  );
  app.onError(async (error, c) => {
    if (!(error instanceof TooManyBodies))
      await drain(c.req.raw, isKnown(c.req.raw, parts) ? DRAIN_MAX_BYTES : DRAIN_STRANGER_MAX_BYTES);
    return answerTo(error instanceof OciError ? error : unexpected(error, c.req.raw, requestId(c.req.raw)));
  });
  return app;
}

const READS = ['GET', 'HEAD', 'OPTIONS'];

/**
 * Refuses a change that a page of another site sends through a browser, which adds the credentials that it remembers. Only browsers
 * send these headers, and scripts cannot set them. Fetch Metadata, section 2.3; RFC 6454, section 7. Throws DENIED.
 */
function refuseOtherSites(request: Request): void {
  if (READS.includes(request.method)) return;
  const site = request.headers.get('Sec-Fetch-Site');
  const origin = request.headers.get('Origin');
  const isOwn = site === null || site === 'same-origin' || site === 'none';
  if (isOwn && (origin === null || origin === originOf(request))) return;
  throw new OciError('DENIED', {
    message:
      'a page of another site sent this request. If it is a page of this registry, set PUBLIC_URL to the URL in the address bar',
  });
}

/** True where the request came with valid credentials. */
function isKnown(request: Request, { services }: Parts): boolean {
  try {
    return services().guard.knows(request);
  } catch {
    return false; // A setting is wrong, and the answer says so.
  }
}

/** Errors of R2 that pass: internal errors, and those that its documentation says to retry. Cloudflare docs, "R2: Error codes". */
const R2_RETRYABLE = /\((?:10001|10043|10058)\)\s*$/;

/** An error of the platform, such as a failed commit. Errors of our own code do not have this message. */
const PLATFORM_FAILED = /^internal error.*; reference = /i;

/** SQLite's errors where the disk is full or not writable, or too many files are open. */
const CANNOT_STORE = /SQLITE_(?:FULL|IOERR|READONLY|CANTOPEN)/;
/** A person must repair that, so clients need not retry every second. */
const CANNOT_STORE_RETRY_S = '30';

/** An error that is not an `OciError` is a bug. The log has all of it; the client gets the id of the request. */
function unexpected(error: Error, request: Request, requestId: string): OciError {
  const { retryable = false, overloaded = false } = error as { retryable?: boolean; overloaded?: boolean };
  console.error(`request ${requestId}: ${request.method} ${new URL(request.url).pathname}`, error);
  if (isTooNew(error)) {
    const { message } = error;
    return new OciError('UNAVAILABLE', { message, detail: { requestId }, headers: { 'Retry-After': '60' } });
  }
  if (CANNOT_STORE.test(error.message)) {
    return new OciError('UNAVAILABLE', {
      message: `${/FULL/.test(error.message) ? 'the disk of the registry is full' : 'the disk of the registry does not work'}: try again after its operator has repaired it`,
      detail: { requestId },
      headers: { 'Retry-After': CANNOT_STORE_RETRY_S },
    });
  }
  // Durable Objects mark errors that pass. Cloudflare docs, "Error handling".
  if (retryable || overloaded || R2_RETRYABLE.test(error.message) || PLATFORM_FAILED.test(error.message))
    return new OciError('UNAVAILABLE', { detail: { requestId } });
  return new OciError('UNKNOWN', { detail: { requestId } });
}

/** True where a newer release wrote the tables of a Durable Object. An error loses its class between objects, but not its name or message. */
function isTooNew({ name, message }: Error): boolean {
  return name === TABLES_TOO_NEW || message.startsWith(`${TABLES_TOO_NEW}:`);
}

/**
 * Reads the rest of a refused request, up to a limit. Most clients write the whole body before they read an answer. Without this they
 * would see a broken connection instead of the error.
 */
async function drain(request: Request, maxBytes: number): Promise<void> {
  const { body } = request;
  if (body === null || body.locked) return;
  if (request.headers.has('Expect') || Number(request.headers.get('Content-Length')) > maxBytes) return;
  const reader = body.getReader();
  for (let bytes = 0; bytes < maxBytes; ) {
    const piece = await reader.read().catch(() => ({ done: true, value: undefined }));
    if (piece.done || piece.value === undefined) return;
    bytes += piece.value.length;
  }
}

/** Every 503 has a Retry-After. */
function answerTo(error: OciError): Response {
  const again = error.status === 503 ? { 'Retry-After': '1' } : {};
  return new Response(error.body(), {
    status: error.status,
    headers: { 'Content-Type': 'application/json', ...again, ...error.headers },
  });
}
