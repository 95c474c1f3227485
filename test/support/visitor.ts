/** The client for what fetch can send: with or without credentials, with tokens and cookies, each answer read whole. See `http.ts`. */
import assert from 'node:assert/strict';
import { exchange, type Head } from './socket.ts';

export interface Sent {
  /** A whole Authorization header; null for none. */
  authorization?: string | null;
  body?: Uint8Array | string | ReadableStream;
  /** Sent as the body, with its `Content-Type`. */
  json?: unknown;
  headers?: Record<string, string>;
}

export type Json = Record<string, unknown>;

export interface Answer {
  status: number;
  headers: Headers;
  bytes: Buffer;
  text: string;
  /** Empty if the body is not JSON. */
  json: Json;
  /** Of the error; empty if the answer is no error. */
  code: string;
  message: string;
  /** What the challenge says: `realm`, `service`, `scope`, `error`. */
  challenge: Record<string, string>;
}

export class Visitor {
  readonly #home: { readonly url: string };
  /** `name:password`; null for none. */
  readonly shown: string | null;
  readonly #tokens = new Map<string, Promise<string>>();
  #cookie = '';

  /** `home` is asked for its URL at each request, because that may change. */
  constructor(home: { readonly url: string }, shown: string | null) {
    this.#home = home;
    this.shown = shown;
  }

  get basic(): string {
    return basic(this.shown ?? '');
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
    const { text } = await this.must(200, 'GET', `/token?${query}`);
    return JSON.parse(text).token;
  }

  /** Sends a request, to a path of the registry or to another URL. */
  async send(method: string, target: string, sent: Sent = {}): Promise<Answer> {
    const response = await this.open(method, target, sent);
    return answerOf(response.status, response.headers, Buffer.from(await response.arrayBuffer()));
  }

  /** As `send`, where another status is a fault of the test. */
  async must(status: number, method: string, target: string, sent: Sent = {}): Promise<Answer> {
    const answer = await this.send(method, target, sent);
    assert.equal(answer.status, status, `${method} ${target}: ${answer.text.slice(0, 1000)}`);
    return answer;
  }

  /**
   * As `send`, where the test reads the body. Only the registry gets the Basic credentials, unless others are given, and the cookie
   * that it set last.
   */
  async open(method: string, target: string, sent: Sent = {}): Promise<Response> {
    const { url: base } = this.#home;
    const url = new URL(target, base);
    const isRegistry = url.origin === new URL(base).origin;
    const { authorization = isRegistry && this.shown !== null ? this.basic : null, json, headers } = sent;
    const body = json === undefined ? sent.body : JSON.stringify(json);
    const init = {
      method,
      redirect: 'manual',
      headers: {
        ...(json === undefined ? {} : { 'Content-Type': 'application/json' }),
        ...headers,
        ...(authorization ? { Authorization: authorization } : {}),
        ...(isRegistry && this.#cookie !== '' ? { Cookie: this.#cookie } : {}),
      },
      // Streams need `duplex`, which the types do not know.
      ...(body === undefined ? {} : { body, duplex: 'half' }),
    } as RequestInit;
    const response = await fetch(url, init);
    const [cookie] = response.headers.getSetCookie();
    if (isRegistry && cookie !== undefined) this.#cookie = cookie.slice(0, cookie.indexOf(';'));
    return response;
  }
}

/** The Authorization header of `name:password`. */
export function basic(shown: string): string {
  return `Basic ${Buffer.from(shown).toString('base64')}`;
}

/** Sends a head that no HTTP library sends. Status 0 if the connection is closed without an answer. */
export async function sendHead(origin: string, head: Head): Promise<Answer> {
  const { status, rawHeaders, body } = await exchange(origin, head);
  const headers = new Headers();
  for (let at = 0; at + 1 < rawHeaders.length; at += 2)
    headers.append(rawHeaders[at] ?? '', rawHeaders[at + 1] ?? '');
  return answerOf(status, headers, body);
}

function answerOf(status: number, headers: Headers, bytes: Buffer): Answer {
  const text = bytes.toString();
  const json = jsonOf(text);
  const { code = '', message = '' } = json.errors?.[0] ?? {};
  return { status, headers, bytes, text, json, code, message, challenge: challengeOf(headers) };
}

function jsonOf(text: string): Json & { errors?: { code?: string; message?: string }[] } {
  try {
    return JSON.parse(text) ?? {};
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
