// The client of the management API: where the registry is, whose credentials are used, and how an error reads.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import createClient, { defaultPathSerializer, type Client as FetchClient } from 'openapi-fetch';
import { isLoopback } from '../worker/oci/address.ts';
import { readAtMost } from '../worker/oci/read-body.ts';
import type { Paths } from './api.ts';
import { CommandFailure } from './failure.ts';

const DEFAULT_URL = 'http://localhost:8787';
const DEFAULT_STATE_DIR = '.longshore';
const PAGE_ENTRIES = 500;
/** More than the largest page. */
const ANSWER_MAX_BYTES = 64 * 1024 * 1024;
const ANSWER_TIMEOUT_MS = 60_000;
const JSON_TYPE = 'application/json';
/** The start of an answer that a message quotes. */
const QUOTED_CHARACTERS = 200;

/** Every method throws a CommandFailure for an error of the API, in the API's own words. */
export type Client = FetchClient<Paths, `${string}/${string}`>;

/** `url` is the `--url` option. Throws a CommandFailure if it is not the URL of a registry. */
export function connect(url: string | undefined, env: NodeJS.ProcessEnv): Client {
  const base = parseUrl(url || env.LONGSHORE_URL || DEFAULT_URL);
  const authorization = credentials(base, env);
  const client = createClient<Paths>({
    baseUrl: `${base.origin}/api/v1`,
    redirect: 'error',
    fetch: fetchWhole,
    pathSerializer: (path, parameters) => defaultPathSerializer(path, checkedSegments(parameters)),
    headers: authorization === null ? {} : { Authorization: authorization },
  });
  client.use({
    async onResponse({ request, response }) {
      if (!response.ok) {
        const { message } = await failureOf(response, authorization !== null);
        const isFinal = response.status < 500 && response.status !== 429;
        throw isFinal ? new RefusedRequest(message) : new CommandFailure(message);
      }
      if (response.status !== 204) await checkContent(response, request.headers.get('Accept') ?? JSON_TYPE);
    },
    onError({ error }) {
      return error instanceof CommandFailure
        ? error
        : new CommandFailure(
            `Cannot reach a registry at ${base.origin}: ${causeOf(error)}\nCheck that it is running, or set --url or LONGSHORE_URL.`,
          );
    },
  });
  return client;
}

/** A failure that the same request would have again. */
export class RefusedRequest extends CommandFailure {}

interface Page<Entry> {
  entries: Entry[] | undefined;
  response: Response;
}

/** All entries of a list, page after page. `get` asks for the page after `last`. Throws a CommandFailure if the list has no end. */
export async function allPages<Entry>(
  get: (query: { n: string; last?: string }) => Promise<Page<Entry>>,
): Promise<Entry[]> {
  const all: Entry[] = [];
  let last: string | null = null;
  do {
    const query = { n: String(PAGE_ENTRIES), ...(last === null ? {} : { last }) };
    const { entries, response }: Page<Entry> = await get(query);
    all.push(...entriesIn(entries));
    const next = lastIn(response.headers.get('Link'));
    if (next !== null && (next === last || entries?.length === 0)) throw incomplete();
    last = next;
  } while (last !== null);
  return all;
}

/** The entries of a list in an answer. Throws a CommandFailure where there is no list. */
export function entriesIn<Entry>(entries: Entry[] | undefined): Entry[] {
  if (Array.isArray(entries) && entries.every(isObject)) return entries;
  throw incomplete();
}

/** A text that every answer of the registry has. Throws a CommandFailure where it is missing, for example for the secret that is printed. */
export function textIn(value: unknown): string {
  if (typeof value === 'string' && value !== '') return value;
  throw incomplete();
}

/** Waits for a request that has no result. Throws a CommandFailure unless the answer says that it is done. */
export async function done(asked: Promise<{ response: Response }>): Promise<void> {
  const { response } = await asked;
  if (response.status !== 204) throw incomplete();
}

/** Throws a CommandFailure unless an answer is about the user that was asked for. */
export function checkUser(found: { name: string } | undefined, name: string): void {
  if (found?.name !== name) throw incomplete();
}

/** The parameter `last` of the next page's URL (RFC 8288); null on the last page. */
function lastIn(link: string | null): string | null {
  const next = /^<([^>]+)>; rel="next"$/.exec(link ?? '')?.[1];
  return next === undefined ? null : (URL.parse(next, DEFAULT_URL)?.searchParams.get('last') ?? null);
}

/** The answer with its body, read whole, so that an answer that breaks off or does not end fails like one that does not come. */
async function fetchWhole(request: Request): Promise<Response> {
  const { body, status, headers } = await fetch(request, { signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS) });
  const bytes = await readAtMost(body, ANSWER_MAX_BYTES);
  if (bytes === null) {
    await body?.cancel();
    throw new Error('the answer is too long');
  }
  return new Response(body === null ? null : bytes, { status, headers });
}

/** Throws a CommandFailure for a name that would change the path: URLs leave out `.`, and `..` with the segment before. */
function checkedSegments(parameters: Record<string, unknown>): Record<string, unknown> {
  for (const value of Object.values(parameters)) {
    if (['', '.', '..'].includes(String(value)))
      throw new CommandFailure(`${JSON.stringify(value)} is not a name or an id.`);
  }
  return parameters;
}

/** Throws a CommandFailure where an answer is not of the type, so that no page of another server is taken for a result. */
async function checkContent(response: Response, type: string): Promise<void> {
  const text = await response.clone().text();
  const isOfType = response.headers.get('Content-Type')?.startsWith(type) === true;
  if (!isOfType || (type === JSON_TYPE && !isObject(parsedJson(text)))) throw notOurs(response.status, text);
}

function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function parseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  const isUrl = url !== null && /^https?:$/.test(url.protocol) && `${url.username}${url.password}` === '';
  if (!isUrl)
    throw new CommandFailure(
      `${JSON.stringify(text)} is not the URL of a registry.\nUse one such as ${DEFAULT_URL}.`,
    );
  if (`${url.pathname}${url.search}${url.hash}` === '/') return url;
  throw new CommandFailure(
    `${JSON.stringify(text)} has more than the host of a registry.\nThe command finds the API at ${url.origin}: use that, if the registry is there.`,
  );
}

/** The password in ADMIN_PASSWORD or STATE_DIR is used only for a registry on this machine. */
function credentials({ protocol, hostname }: URL, env: NodeJS.ProcessEnv): string | null {
  const isLocal = isLoopback(hostname);
  if (env.LONGSHORE_PASSWORD) {
    if (protocol === 'http:' && !isLocal)
      process.stderr.write('Warning: the password is sent without encryption. Use https.\n');
    return basic(env.LONGSHORE_USER || 'admin', env.LONGSHORE_PASSWORD);
  }
  if (!isLocal) return null;
  const password =
    env.ADMIN_PASSWORD || firstLine(join(env.STATE_DIR || DEFAULT_STATE_DIR, 'admin-password'));
  return password ? basic('admin', password) : null;
}

function basic(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
}

function firstLine(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').split('\n')[0]?.trim();
  } catch {
    return undefined;
  }
}

async function failureOf(response: Response, hadCredentials: boolean): Promise<CommandFailure> {
  if (response.status === 401 && !hadCredentials) {
    return new CommandFailure(
      'The registry needs credentials.\nSet LONGSHORE_USER and LONGSHORE_PASSWORD (a password or a token). For a registry on this machine, set ADMIN_PASSWORD or STATE_DIR as for npm start.',
    );
  }
  const text = await response.text();
  const body = parsedJson(text);
  const errors: unknown[] = isObject(body) && Array.isArray(body.errors) ? body.errors : [];
  const messages = errors.flatMap((error) =>
    isObject(error) && typeof error.message === 'string' && error.message !== '' ? [error.message] : [],
  );
  return messages.length > 0 ? new CommandFailure(messages.join('\n')) : notOurs(response.status, text);
}

function notOurs(status: number, text: string): CommandFailure {
  return new CommandFailure(
    `The server answered with status ${status} and nothing that Longshore sends.\nCheck that the URL is that of a Longshore registry. The answer begins with: ${text.slice(0, QUOTED_CHARACTERS)}`,
  );
}

function incomplete(): CommandFailure {
  return new CommandFailure(
    'The answer of the server is incomplete.\nCheck that the URL is that of a Longshore registry of the same release.',
  );
}

function causeOf(error: unknown): string {
  const { cause, message } = error as { cause?: { code?: string; message?: string }; message: string };
  return cause?.code ?? cause?.message ?? message;
}
