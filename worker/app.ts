/**
 * The application: who is mounted where, and the one place that turns errors into answers.
 */
import { Hono } from 'hono';
import type { Services } from './distribution/exchange.ts';
import { distribution } from './distribution/routes.ts';
import { HELP_PATH, helpPage, OciError, TABLES_TOO_NEW } from './oci/errors.ts';
import { DRAIN_MAX_BYTES, DRAIN_STRANGER_MAX_BYTES } from './oci/limits.ts';
import { originOf } from './oci/origin.ts';

/** What is mounted, made when it is first needed: a setting that is wrong is then told to whoever asks. */
export interface Parts {
  requestId(request: Request): string;
  services(): Services;
  /** Decides what the registry is called in the answer (`oci/origin.ts`). Throws NAME_INVALID. */
  decideOrigin(request: Request): void;
  /** What `/` says. */
  welcome(): Promise<string>;
  /** `/token`. */
  token(request: Request): Promise<Response>;
  /** Sign-in of people: `/auth/login` and `/auth/callback`. */
  signIn: Record<'login' | 'callback', (request: Request) => Promise<Response>>;
  /** The key set that tokens are verified by (RFC 7517). */
  publishedKeys(): Promise<{ keys: JsonWebKey[] }>;
  /** `/api/v1`. */
  management(request: Request): Promise<Response>;
  /** The registry's own blob host. */
  blobHost(request: Request): Promise<Response>;
}

export function createApp(parts: Parts): Hono {
  const { requestId, services, blobHost, welcome, token, signIn, publishedKeys, management } = parts;
  const app = new Hono();
  // For load balancers, which ask by an address and whatever is set.
  app.get('/health', (c) => c.json({ status: 'ok' }));
  // Every error links to it. It says nothing about this registry, so no login is needed.
  app.get(HELP_PATH, (c) => c.text(helpPage()));
  app.use(async (c, next) => {
    // Workerd makes the URL of whatever Host says: a path in it would be taken for that of the request,
    // and of two hosts there is none.
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
  app.all('/api/v1/*', (c) => management(c.req.raw));
  app.all('/blob-host/*', (c) => blobHost(c.req.raw));
  app.get('/', async (c) => c.text(`${await welcome()}\n`));
  app.notFound(() =>
    answerTo(new OciError('NAME_UNKNOWN', { message: 'nothing is here: the API is at /v2/' })),
  );
  app.onError(async (fault, c) => {
    await drain(c.req.raw, isKnown(c.req.raw, parts) ? DRAIN_MAX_BYTES : DRAIN_STRANGER_MAX_BYTES);
    return answerTo(fault instanceof OciError ? fault : unexpected(fault, c.req.raw, requestId(c.req.raw)));
  });
  return app;
}

const READS = ['GET', 'HEAD', 'OPTIONS'];

/**
 * A page of another site can have a browser send a request here, with what the browser remembers. No client but a browser
 * sends these headers, and no page of a script may change them. Fetch Metadata, section 2.3; RFC 6454, section 7. Throws DENIED.
 */
function refuseOtherSites(request: Request): void {
  if (READS.includes(request.method)) return;
  const site = request.headers.get('Sec-Fetch-Site');
  const origin = request.headers.get('Origin');
  const isOwn = site === null || site === 'same-origin' || site === 'none';
  if (isOwn && (origin === null || origin === originOf(request))) return;
  throw new OciError('DENIED', {
    message:
      'a page of another site has sent this, and only the registry itself may: if this is its own page, set PUBLIC_URL to the URL in the address bar',
  });
}

/** True where whoever has sent the request has shown credentials that are right. */
function isKnown(request: Request, { services }: Parts): boolean {
  try {
    return services().guard.knows(request);
  } catch {
    return false; // A setting is wrong: that was the answer.
  }
}

/** R2's own faults: an internal error, and one of those that it asks to try again. Cloudflare docs, "R2: Error codes". */
const R2_PASSES = /\((?:10001|10043|10058)\)\s*$/;

/** A fault of the platform itself, such as a commit that failed; code that throws never says so. */
const PLATFORM_FAILED = /^internal error.*; reference = /i;

/** What SQLite says where the disk is full or cannot be written, or where no more files may be open. */
const CANNOT_STORE = /SQLITE_(?:FULL|IOERR|READONLY|CANTOPEN)/;
/** That takes a person, so a client need not ask every second. */
const CANNOT_STORE_RETRY_S = '30';

/** Anything that is not an `OciError` is a bug: it is logged whole, and the client gets no more than its id. */
function unexpected(fault: Error, request: Request, requestId: string): OciError {
  const { retryable = false, overloaded = false } = fault as { retryable?: boolean; overloaded?: boolean };
  console.error(`request ${requestId}: ${request.method} ${new URL(request.url).pathname}`, fault);
  if (isTooNew(fault)) {
    const { message } = fault;
    return new OciError('UNAVAILABLE', { message, detail: { requestId }, headers: { 'Retry-After': '60' } });
  }
  if (CANNOT_STORE.test(fault.message)) {
    return new OciError('UNAVAILABLE', {
      message: `${/FULL/.test(fault.message) ? 'the disk of the registry is full' : 'the disk of the registry does not work'}: try again once its operator has mended that`,
      detail: { requestId },
      headers: { 'Retry-After': CANNOT_STORE_RETRY_S },
    });
  }
  // Durable Objects say so of faults that pass. Cloudflare docs, "Error handling".
  if (retryable || overloaded || R2_PASSES.test(fault.message) || PLATFORM_FAILED.test(fault.message))
    return new OciError('UNAVAILABLE', { detail: { requestId } });
  return new OciError('UNKNOWN', { detail: { requestId } });
}

/** A Durable Object's tables are those of a newer release. An error that comes from it has lost its class. */
function isTooNew({ name, message }: Error): boolean {
  return name === TABLES_TOO_NEW || message.startsWith(`${TABLES_TOO_NEW}:`);
}

/**
 * Reads what a refused request still sends: most clients write the whole body before they read an answer, and would see
 * a broken connection instead of the error. What is larger is cut off.
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

/** A client that is told to try again is told when. */
function answerTo(error: OciError): Response {
  const again = error.status === 503 ? { 'Retry-After': '1' } : {};
  return new Response(error.body(), {
    status: error.status,
    headers: { 'Content-Type': 'application/json', ...again, ...error.headers },
  });
}
