/** A client of the registry, with or without credentials, and the answers that it gets. */
import assert from 'node:assert/strict';
import type { Home } from '../support/homes.ts';

export interface Sent {
  /** A whole Authorization header; null for none. */
  authorization?: string | null;
  body?: Uint8Array | string;
  headers?: Record<string, string>;
}

export interface Answer {
  status: number;
  headers: Headers;
  text: string;
  /** Of the error; empty if the answer is no error. */
  code: string;
  message: string;
  /** What the challenge says: `realm`, `service`, `scope`, `error`. */
  challenge: Record<string, string>;
}

export class Visitor {
  readonly #home: Home;
  /** `name:password`; null for none. */
  readonly shown: string | null;
  readonly #tokens = new Map<string, Promise<string>>();

  constructor(home: Home, shown: string | null) {
    this.#home = home;
    this.shown = shown;
  }

  get basic(): string {
    return `Basic ${Buffer.from(this.shown ?? '').toString('base64')}`;
  }

  /** The Authorization header with a token for some scopes, which is asked for once. */
  bearer(...scopes: string[]): Promise<string> {
    const key = scopes.join(' ');
    const known = this.#tokens.get(key) ?? this.token(...scopes).then((token) => `Bearer ${token}`);
    this.#tokens.set(key, known);
    return known;
  }

  /** A new token. */
  async token(...scopes: string[]): Promise<string> {
    const query = new URLSearchParams(scopes.map((scope) => ['scope', scope]));
    const answer = await this.send('GET', `/token?${query}`);
    assert.equal(answer.status, 200, answer.text);
    return JSON.parse(answer.text).token;
  }

  /** With Basic credentials, if there are some, unless it says otherwise. */
  send(method: string, path: string, sent: Sent = {}): Promise<Answer> {
    const { authorization = this.shown === null ? null : this.basic } = sent;
    return send(new URL(path, this.#home.url), method, { ...sent, authorization });
  }

  /** As `send`, where another status is a fault of the test. */
  async must(status: number, method: string, path: string, sent: Sent = {}): Promise<Answer> {
    const answer = await this.send(method, path, sent);
    assert.equal(answer.status, status, `${method} ${path}: ${answer.text}`);
    return answer;
  }
}

async function send(url: URL, method: string, { authorization, body, headers }: Sent): Promise<Answer> {
  const response = await fetch(url, {
    method,
    redirect: 'manual',
    headers: { ...headers, ...(authorization ? { Authorization: authorization } : {}) },
    ...(body === undefined ? {} : { body: body as BodyInit }),
  });
  return answerOf(response.status, response.headers, await response.text());
}

export function answerOf(status: number, headers: Headers, text: string): Answer {
  const { code = '', message = '' } = firstError(text);
  return { status, headers, text, code, message, challenge: challengeOf(headers) };
}

function firstError(text: string): { code?: string; message?: string } {
  try {
    return JSON.parse(text).errors?.[0] ?? {};
  } catch {
    return {};
  }
}

function challengeOf(headers: Headers): Record<string, string> {
  const header = headers.get('WWW-Authenticate') ?? '';
  return Object.fromEntries(
    [...header.matchAll(/([a-z_]+)="([^"]*)"/g)].map(([, key, value]) => [key, value]),
  );
}
