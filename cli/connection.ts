// The way from the shell to the management API of a registry: where it is, who asks, and its refusals in words.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isLoopback } from '../worker/oci/address.ts';
import { CommandFailure } from './failure.ts';

const DEFAULT_URL = 'http://localhost:8787';
const DEFAULT_STATE_DIR = '.longshore';
const PAGE = 500;

export interface Connection {
  /** JSON, or text where the answer is none; null for an empty one. Throws a CommandFailure in the words of the API. */
  call(method: string, path: string, body?: unknown, accept?: string): Promise<unknown>;
  /** All pages of a list; `key` is its name in the answer. */
  list(path: string, key: string): Promise<Record<string, unknown>[]>;
}

export function connect(url: string | undefined, env: NodeJS.ProcessEnv): Connection {
  const base = parseUrl(url || env.LONGSHORE_URL || DEFAULT_URL);
  const authorization = credentials(base, env);
  const request = async (method: string, path: string, body?: unknown, accept = 'application/json') => {
    const headers = {
      Accept: accept,
      ...(authorization === null ? {} : { Authorization: authorization }),
      ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
    };
    const init = { method, headers, redirect: 'error' as const };
    const target = `${base.origin}/api/v1${path}`;
    const response = await fetch(
      target,
      body === undefined ? init : { ...init, body: JSON.stringify(body) },
    ).catch((fault: unknown) => {
      throw new CommandFailure(
        `cannot reach a registry at ${base.origin}: ${reason(fault)}\nIs it running? --url or LONGSHORE_URL says where it is.`,
      );
    });
    if (!response.ok) throw await refusal(response, authorization !== null);
    return response;
  };
  return {
    async call(method, path, body, accept) {
      const response = await request(method, path, body, accept);
      const text = await response.text();
      if (text === '') return null;
      return response.headers.get('Content-Type')?.startsWith('application/json') ? JSON.parse(text) : text;
    },
    async list(path, key) {
      const entries: Record<string, unknown>[] = [];
      for (
        let next: string | undefined = `${path}${path.includes('?') ? '&' : '?'}n=${PAGE}`;
        next !== undefined;
      ) {
        const response: Response = await request('GET', next);
        const page = (await response.json()) as Record<string, Record<string, unknown>[]>;
        entries.push(...(page[key] ?? []));
        next = /^<\/api\/v1([^>]+)>; rel="next"$/.exec(response.headers.get('Link') ?? '')?.[1];
      }
      return entries;
    },
  };
}

function parseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url !== null && /^https?:$/.test(url.protocol) && `${url.username}${url.password}` === '') return url;
  throw new CommandFailure(`${JSON.stringify(text)} is not the URL of a registry, such as ${DEFAULT_URL}`);
}

/** Null where there are none. The admin's password of this machine goes to no other. */
function credentials({ protocol, hostname }: URL, env: NodeJS.ProcessEnv): string | null {
  const isHere = isLoopback(hostname);
  if (env.LONGSHORE_PASSWORD) {
    if (protocol === 'http:' && !isHere)
      process.stderr.write('Warning: without https, the password travels in clear.\n');
    return basic(env.LONGSHORE_USER || 'admin', env.LONGSHORE_PASSWORD);
  }
  if (!isHere) return null;
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

async function refusal(response: Response, hadCredentials: boolean): Promise<CommandFailure> {
  if (response.status === 401 && !hadCredentials) {
    return new CommandFailure(
      `no credentials: set LONGSHORE_USER and LONGSHORE_PASSWORD (a password or a token)${HERE}`,
    );
  }
  const text = await response.text();
  try {
    const { errors } = JSON.parse(text) as { errors: { message: string }[] };
    return new CommandFailure(errors.map(({ message }) => message).join('\n'));
  } catch {
    return new CommandFailure(
      `the registry answered with ${response.status}: is this a Longshore? ${text.slice(0, 200)}`,
    );
  }
}

const HERE =
  '\nFor a registry on this machine, ADMIN_PASSWORD or STATE_DIR, as it was started with, is enough.';

function reason(fault: unknown): string {
  const { cause, message } = fault as { cause?: { code?: string; message?: string }; message: string };
  return cause?.code ?? cause?.message ?? message;
}
