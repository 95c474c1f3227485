/**
 * An OpenID Connect issuer on this machine: it signs real tokens, rotates its keys, counts who asks for what, and can be told
 * to answer wrongly. For sign-in it has the endpoints of the authorization code flow, and holds its clients to PKCE.
 */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';
import type { ClaimSet } from './claims.ts';

export interface Answer {
  status?: number;
  headers?: Record<string, string>;
  body?: string;
}

export interface SigningOptions {
  /** Seconds from now; null leaves the claim out. */
  issuedAt?: number | null;
  expiresIn?: number | null;
  notBefore?: number;
  header?: Record<string, unknown>;
}

interface Key {
  kid: string;
  alg: string;
  privateKey: CryptoKey;
  publicJwk: JWK;
}

interface Grant {
  redirectUri: string;
  challenge: string;
  nonce: string;
  person: ClaimSet;
  used: boolean;
}

export const CLIENT = { id: 'longshore client', secret: 'secret:of+the client' };

export class TestIssuer {
  /** How often each path was asked for. */
  readonly asked = new Map<string, number>();
  /** What a path answers instead of what it should. */
  readonly wrong = new Map<string, Answer>();
  /** Who signs in: the claims of the ID token. */
  person: ClaimSet = { sub: 'person-1' };
  /** What the discovery document says besides, or otherwise. */
  metadata: Record<string, unknown> = {};
  readonly #server: Server;
  readonly #grants = new Map<string, Grant>();
  #keys: Key[] = [];

  constructor() {
    this.#server = createServer((request, response) => {
      this.#serve(request, response).catch((fault: unknown) => {
        console.error('the issuer of the tests failed', fault);
        response.writeHead(500).end();
      });
    });
  }

  async start(): Promise<this> {
    await this.rotate();
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return this;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The key set that it publishes. */
  get keySet(): { keys: JWK[] } {
    return { keys: this.#keys.map(({ publicJwk }) => publicJwk) };
  }

  /** From now on it signs by a new key, and knows no other. */
  async rotate(alg = 'RS256'): Promise<void> {
    const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
    const kid = randomBytes(8).toString('hex');
    const publicJwk = { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' };
    this.#keys = [{ kid, alg, privateKey, publicJwk }];
  }

  /** A token of these claims: issued now, and good for five minutes. */
  async sign(claims: ClaimSet, options: SigningOptions = {}): Promise<string> {
    const { kid, alg, privateKey } = this.#key();
    return new SignJWT(this.payload(claims, options))
      .setProtectedHeader({ alg, kid, typ: 'JWT', ...options.header })
      .sign(privateKey);
  }

  payload(claims: ClaimSet, { issuedAt = 0, expiresIn = 300, notBefore }: SigningOptions = {}): ClaimSet {
    const now = Math.floor(Date.now() / 1000);
    return {
      iss: this.url,
      ...(issuedAt === null ? {} : { iat: now + issuedAt }),
      ...(expiresIn === null ? {} : { exp: now + expiresIn }),
      ...(notBefore === undefined ? {} : { nbf: now + notBefore }),
      ...claims,
    };
  }

  #key(): Key {
    const [key] = this.#keys;
    if (key === undefined) throw new Error('the issuer was not started');
    return key;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', this.url);
    this.asked.set(url.pathname, (this.asked.get(url.pathname) ?? 0) + 1);
    const {
      status = 200,
      headers = {},
      body = '',
    } = this.wrong.get(url.pathname) ?? (await this.#answer(request, url));
    response.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(body);
  }

  async #answer(request: IncomingMessage, url: URL): Promise<Answer> {
    if (url.pathname === '/.well-known/openid-configuration')
      return { body: JSON.stringify(this.#metadata()) };
    if (url.pathname === '/keys') return { body: JSON.stringify(this.keySet) };
    if (url.pathname === '/authorize') return this.#authorize(url.searchParams);
    if (url.pathname === '/token' && request.method === 'POST') {
      return this.#token(new URLSearchParams(await textOf(request)), request.headers.authorization ?? '');
    }
    return { status: 404 };
  }

  #metadata(): Record<string, unknown> {
    return {
      issuer: this.url,
      jwks_uri: `${this.url}/keys`,
      authorization_endpoint: `${this.url}/authorize`,
      token_endpoint: `${this.url}/token`,
      response_types_supported: ['code'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['RS256'],
      scopes_supported: ['openid', 'profile', 'email', 'groups'],
      code_challenge_methods_supported: ['S256'],
      ...this.metadata,
    };
  }

  /** Every visitor is `person`, and agrees. */
  #authorize(query: URLSearchParams): Answer {
    const redirectUri = query.get('redirect_uri') ?? '';
    const challenge = query.get('code_challenge') ?? '';
    const asItShould =
      query.get('response_type') === 'code' &&
      query.get('client_id') === CLIENT.id &&
      (query.get('scope') ?? '').split(' ').includes('openid') &&
      query.get('code_challenge_method') === 'S256' &&
      challenge.length === 43 &&
      new URL(redirectUri).pathname === '/auth/callback';
    if (!asItShould) return { status: 400, body: JSON.stringify({ error: 'invalid_request' }) };
    const code = randomBytes(16).toString('hex');
    this.#grants.set(code, {
      redirectUri,
      challenge,
      nonce: query.get('nonce') ?? '',
      person: this.person,
      used: false,
    });
    const answer = new URLSearchParams({ code, state: query.get('state') ?? '', iss: this.url });
    return { status: 302, headers: { Location: `${redirectUri}?${answer}` } };
  }

  async #token(form: URLSearchParams, authorization: string): Promise<Answer> {
    const { token_endpoint_auth_methods_supported: methods } = this.metadata;
    const inForm = Array.isArray(methods) && methods.includes('client_secret_post');
    if (!isClient(form, authorization, inForm)) return refusal('invalid_client');
    const grant = this.#grants.get(form.get('code') ?? '');
    const challenge = createHash('sha256')
      .update(form.get('code_verifier') ?? '')
      .digest('base64url');
    if (grant === undefined || grant.used) return refusal('invalid_grant');
    grant.used = true;
    if (grant.challenge !== challenge || grant.redirectUri !== form.get('redirect_uri'))
      return refusal('invalid_grant');
    const id_token = await this.sign({ aud: CLIENT.id, nonce: grant.nonce, ...grant.person });
    return { body: JSON.stringify({ access_token: 'opaque', token_type: 'Bearer', id_token }) };
  }
}

/** In the header, unless the issuer has said that it takes the secret in the form. */
function isClient(form: URLSearchParams, authorization: string, inForm: boolean): boolean {
  if (inForm) return form.get('client_id') === CLIENT.id && form.get('client_secret') === CLIENT.secret;
  const encode = (text: string) => encodeURIComponent(text).replaceAll('%20', '+');
  return authorization === `Basic ${btoa(`${encode(CLIENT.id)}:${encode(CLIENT.secret)}`)}`;
}

function refusal(error: string): Answer {
  return { status: 400, body: JSON.stringify({ error }) };
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const piece of request) text += piece;
  return text;
}
