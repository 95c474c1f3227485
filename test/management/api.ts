/** The management API as a test calls it, and rows of requests with what they must come to. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { Home, HomeOptions } from '../support/homes.ts';

export const ADMIN = 'admin:the password of the admin';
/** Access control is on. */
export const GUARDED: HomeOptions = { vars: { AUTH: 'on', ADMIN_PASSWORD: 'the password of the admin' } };

export type Json = Record<string, unknown>;

export interface Answered {
  status: number;
  headers: Headers;
  text: string;
  /** Empty if the body is not JSON. */
  json: Json;
}

export interface Row {
  name: string;
  /** `user:password`; the admin unless it is given. */
  as?: string | null;
  request: [method: string, path: string, body?: unknown];
  want: number;
  /** What the answer says. */
  says?: RegExp;
}

export class Api {
  readonly #home: Home;

  constructor(home: Home) {
    this.#home = home;
  }

  /** `as` is `user:password`, a whole Authorization header, or null for none. */
  async call(
    method: string,
    path: string,
    body?: unknown,
    as: string | null = ADMIN,
    headers: Record<string, string> = {},
  ): Promise<Answered> {
    const response = await fetch(`${this.#home.url}/api/v1${path}`, {
      method,
      headers: {
        ...(as === null ? {} : { Authorization: authorization(as) }),
        ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    const isJson = response.headers.get('Content-Type')?.startsWith('application/json') === true;
    return { status: response.status, headers: response.headers, text, json: isJson ? JSON.parse(text) : {} };
  }

  /** As `call`, where anything but a success is a fault of the test. */
  async made(method: string, path: string, body?: unknown, as: string | null = ADMIN): Promise<Json> {
    const { status, text, json } = await this.call(method, path, body, as);
    assert.ok(status < 300, `${method} ${path}: ${status} ${text}`);
    return json;
  }

  /** Each row is a test; they run one after another, in their order. */
  table(rows: Row[]): void {
    for (const { name, as = ADMIN, request, want, says } of rows) {
      it(`${request[0]} ${request[1].split('?')[0]}: ${name}`, async () => {
        const answered = await this.call(request[0], request[1], request[2], as);
        assert.equal(answered.status, want, answered.text);
        if (says !== undefined) assert.match(answered.text, says);
        if (want >= 400) assert.deepEqual(Object.keys(answered.json), ['errors']);
        if (want === 401)
          assert.match(answered.headers.get('WWW-Authenticate') ?? '', /^Basic realm="longshore"/);
        assert.equal(answered.headers.get('Cache-Control') ?? 'no-store', 'no-store');
      });
    }
  }
}

function authorization(as: string): string {
  return /^(?:Basic|Bearer) /.test(as) ? as : `Basic ${Buffer.from(as).toString('base64')}`;
}
