// The client of the management API: where the registry is, whose credentials are used, and how an error reads.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import createClient, { type Client as FetchClient } from 'openapi-fetch';
import { isLoopback } from '../worker/oci/address.ts';
import type { Paths } from './api.ts';
import { CommandFailure } from './failure.ts';

const DEFAULT_URL = 'http://localhost:8787';
const DEFAULT_STATE_DIR = '.longshore';
const PAGE_ENTRIES = 500;

/** Every method throws a CommandFailure for an error of the API, in the API's own words. */
export type Client = FetchClient<Paths, `${string}/${string}`>;

/** `url` is the `--url` option. Throws a CommandFailure if it is not the URL of a registry. */
export function connect(url: string | undefined, env: NodeJS.ProcessEnv): Client {
  const base = parseUrl(url || env.LONGSHORE_URL || DEFAULT_URL);
  const authorization = credentials(base, env);
  const client = createClient<Paths>({
    baseUrl: `${base.origin}/api/v1`,
    redirect: 'error',
    headers: authorization === null ? {} : { Authorization: authorization },
  });
  client.use({
    async onResponse({ response }) {
      if (!response.ok) throw await failureOf(response, authorization !== null);
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

/** All entries of a list, page after page. `get` asks for the page after `last`. */
export async function allPages<Entry>(
  get: (query: { n: string; last?: string }) => Promise<{ entries: Entry[]; response: Response }>,
): Promise<Entry[]> {
  const all: Entry[] = [];
  let last: string | null = null;
  do {
    const query = { n: String(PAGE_ENTRIES), ...(last === null ? {} : { last }) };
    const { entries, response }: { entries: Entry[]; response: Response } = await get(query);
    all.push(...entries);
    last = lastIn(response.headers.get('Link'));
  } while (last !== null);
  return all;
}

/** The parameter `last` of the next page's URL (RFC 8288); null on the last page. */
function lastIn(link: string | null): string | null {
  const next = /^<([^>]+)>; rel="next"$/.exec(link ?? '')?.[1];
  return next === undefined ? null : new URL(next, DEFAULT_URL).searchParams.get('last');
}

function parseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url !== null && /^https?:$/.test(url.protocol) && `${url.username}${url.password}` === '') return url;
  throw new CommandFailure(
    `${JSON.stringify(text)} is not the URL of a registry.\nUse one such as ${DEFAULT_URL}.`,
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
  try {
    const { errors } = JSON.parse(text) as { errors: { message: string }[] };
    return new CommandFailure(errors.map(({ message }) => message).join('\n'));
  } catch {
    return new CommandFailure(
      `The server answered with status ${response.status} and no error that Longshore sends.\nCheck that the URL is that of a Longshore registry. The answer begins with: ${text.slice(0, 200)}`,
    );
  }
}

function causeOf(error: unknown): string {
  const { cause, message } = error as { cause?: { code?: string; message?: string }; message: string };
  return cause?.code ?? cause?.message ?? message;
}
