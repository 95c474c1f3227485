/** The management API as a test calls it, and rows of requests with what they must come to. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { Home, HomeOptions } from '../support/homes.ts';
import { type Answer, basic, type Json, Visitor } from '../support/visitor.ts';

export type { Json } from '../support/visitor.ts';

export const ADMIN = 'admin:the password of the admin';
/** Access control is on. */
export const GUARDED: HomeOptions = { vars: { AUTH: 'on', ADMIN_PASSWORD: 'the password of the admin' } };

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
  readonly #visitor: Visitor;

  constructor(home: Home) {
    this.#visitor = new Visitor(home, null);
  }

  /** A body that is text is sent as it is. `as` is `user:password`, a whole Authorization header, or null for none. */
  call(
    method: string,
    path: string,
    body?: unknown,
    as: string | null = ADMIN,
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    const authorization = as === null || /^(?:Basic|Bearer) /.test(as) ? as : basic(as);
    const content =
      typeof body === 'string'
        ? { body, headers: { 'Content-Type': 'application/json', ...headers } }
        : { json: body, headers };
    return this.#visitor.send(method, `/api/v1${path}`, { ...content, authorization });
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
