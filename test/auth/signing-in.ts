/** What the tests of the sign-in share: a browser, and what it sees. */
import assert from 'node:assert/strict';
import type { Home } from '../support/homes.ts';
import { CLIENT, type TestIssuer } from '../support/issuer.ts';
import { Visitor } from '../support/visitor.ts';

const HTPASSWD = 'file:$2y$05$abcdefghijklmnopqrstuuVXyV4OQ3v0S0YQmZ0S8yV0u8m4i8k1K';
const PASSWORD = 'a password of the admin';
export const VARS = {
  AUTH: 'on',
  ADMIN_PASSWORD: PASSWORD,
  HTPASSWD,
  ALLOW_PRIVATE_ISSUERS: 'true',
  OIDC_CLIENT_ID: CLIENT.id,
  OIDC_CLIENT_SECRET: CLIENT.secret,
};

/** The name of an account that a first sign-in makes. */
export const ACCOUNT = /^oidc-[0-9a-f]{16}$/;
/** What a browser says of an address that a person typed. */
export const TYPED = { 'Sec-Fetch-Site': 'none' };

/** A browser that goes where it is sent, step by step. */
export class Browser {
  readonly #visitor: Visitor;
  readonly #issuer: TestIssuer;
  readonly #headers: Record<string, string>;

  constructor(home: Home, issuer: TestIssuer, headers: Record<string, string> = {}) {
    this.#visitor = new Visitor(home, null);
    this.#issuer = issuer;
    this.#headers = headers;
  }

  /** To the registry, and on to where the issuer sends it back to; `change` tampers with what is sent to the issuer. */
  async toIssuer(change: (query: URLSearchParams) => void = () => {}): Promise<URL> {
    const login = await this.get('/auth/login', TYPED);
    assert.equal(login.status, 302, await login.text());
    const url = new URL(login.headers.get('Location') ?? '');
    assert.equal(url.origin, this.#issuer.url);
    change(url.searchParams);
    const answer = await this.#visitor.send('GET', url.href);
    return new URL(answer.headers.get('Location') ?? '');
  }

  async signIn(): Promise<Response> {
    return this.back(await this.toIssuer());
  }

  back(url: URL): Promise<Response> {
    return this.get(url.pathname + url.search);
  }

  get(path: string, more: Record<string, string> = {}): Promise<Response> {
    return this.#visitor.open('GET', path, { headers: { ...this.#headers, ...more } });
  }
}

/** What the page tells to paste. */
export async function loginOf(response: Response): Promise<{ token: string; host: string; name: string }> {
  const page = await response.text();
  assert.equal(response.status, 200, page);
  const [, token = '', host = '', name = ''] =
    /<pre>echo (\S+) \| docker login (\S+) --username (\S+) --password-stdin<\/pre>/.exec(page) ?? [];
  return { token, host, name };
}

export async function refused(response: Response, status: number, why: RegExp): Promise<void> {
  const page = await response.text();
  assert.match(page, why);
  assert.equal(response.status, status);
  assert.doesNotMatch(page, /lsr_/);
}

/** What a login is given of a scope, or the status of the refusal. */
export async function scopeOf(
  home: Home,
  name: string,
  password: string,
  scope: string,
): Promise<string | number> {
  const query = new URLSearchParams({ service: new URL(home.url).host, scope });
  const { status, json } = await new Visitor(home, `${name}:${password}`).send('GET', `/token?${query}`);
  return status === 200 ? String(json.scope) : status;
}

export function accounts<T>(home: Home, method: string, ...args: unknown[]): Promise<T> {
  return home.call<T>('ACCOUNTS', 'accounts', method, ...args);
}
