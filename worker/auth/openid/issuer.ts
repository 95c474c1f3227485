/**
 * An issuer of OpenID Connect tokens: its metadata and its keys, which are fetched when needed and kept for a while.
 * Only issuers that an admin has configured are fetched from. OpenID Connect Discovery 1.0, section 4.
 */
import { createRemoteJWKSet, customFetch, type JWTVerifyGetKey, type RemoteJWKSet } from 'jose';
import QuickLRU from 'quick-lru';
import { isIssuer } from '../../access/issuer-url.ts';
import { isAddress, isLoopback, isPrivateAddress } from '../../oci/address.ts';
import { OciError } from '../../oci/errors.ts';
import { readAtMost } from '../../oci/read-body.ts';

/** What an issuer says of itself is kept this long; its keys are fetched sooner for one that is not known. */
const ISSUER_LIFETIME_MS = 3600 * 1000;
const ISSUER_KEYS_LIFETIME_MS = 10 * 60 * 1000;
const ISSUER_KEYS_RETRY_MS = 30 * 1000;
/** An issuer that did not answer is asked again after this long. */
const ISSUER_RETRY_MS = 10 * 1000;
const ISSUER_TIMEOUT_MS = 5 * 1000;
const ISSUER_ANSWER_MAX_BYTES = 256 * 1024;
/** Issuers, or key sets, that an isolate remembers. */
export const ISSUERS_REMEMBERED = 50;

/** The metadata of an issuer that the registry uses. URLs are checked. */
export interface IssuerMetadata {
  issuer: string;
  jwks_uri: string;
  authorization_endpoint: string | null;
  token_endpoint: string | null;
  token_endpoint_auth_methods_supported: string[];
  scopes_supported: string[] | null;
}

type Json = Record<string, unknown>;

/** The issuers that this isolate has used. */
export class Issuers {
  readonly #allowsPrivate: boolean;
  readonly #known = new QuickLRU<string, Issuer>({ maxSize: ISSUERS_REMEMBERED });

  /** `allowsPrivate`: whether issuers may be on private addresses and on this machine. */
  constructor(allowsPrivate: boolean) {
    this.#allowsPrivate = allowsPrivate;
  }

  get(url: string): Issuer {
    const known = this.#known.get(url);
    if (known !== undefined) return known;
    const issuer = new Issuer(url, this.#allowsPrivate);
    this.#known.set(url, issuer);
    return issuer;
  }
}

export class Issuer {
  readonly #url: string;
  readonly #allowsPrivate: boolean;
  #metadata: { found: IssuerMetadata; at: number } | null = null;
  #keys: { uri: string; find: RemoteJWKSet } | null = null;
  #failure: { error: OciError; at: number } | null = null;

  constructor(url: string, allowsPrivate: boolean) {
    this.#url = url;
    this.#allowsPrivate = allowsPrivate;
  }

  /** The metadata of the issuer, from the cache or fetched. Throws UNAVAILABLE. */
  async metadata(): Promise<IssuerMetadata> {
    if (this.#metadata !== null && Date.now() - this.#metadata.at < ISSUER_LIFETIME_MS)
      return this.#metadata.found;
    if (!isIssuer(this.#url)) throw this.#unavailable('is neither an https URL nor on this machine');
    if (!this.#allowsPrivate && isPrivate(this.#url)) throw this.#unavailable(PRIVATE);
    const url = `${this.#url.replace(/\/$/, '')}/.well-known/openid-configuration`;
    const found = await this.#get(url, (body) => this.#read(body));
    this.#metadata = { found, at: Date.now() };
    return found;
  }

  /** The key that a token names, for `jwtVerify`. Throws UNAVAILABLE, and jose's errors if there is no such key. */
  readonly key: JWTVerifyGetKey = async (header, token) => {
    const { jwks_uri } = await this.metadata();
    if (this.#keys?.uri !== jwks_uri) this.#keys = { uri: jwks_uri, find: this.#keysAt(jwks_uri) };
    return this.#keys.find(header, token);
  };

  /**
   * Sends a form, and returns the answer with its body read whole. An answer of 4xx says nothing about the issuer: it is for the
   * caller to read. Throws UNAVAILABLE.
   */
  async post(url: string, init: Pick<RequestInit, 'method' | 'headers' | 'body'>): Promise<Response> {
    this.#checkAnswers();
    try {
      const { status, text, type } = await request(url, init);
      if (status < 400 || status >= 500) jsonIn(status, text);
      this.#failure = null;
      return new Response(text, { status, headers: { 'Content-Type': type } });
    } catch (error) {
      // What a client sent may be the cause, so the failure is not remembered: other clients still get the keys.
      throw this.#unavailable(inWords(error));
    }
  }

  /** The JSON that a URL of the issuer answers with, as `read` takes it. Throws UNAVAILABLE. */
  async #get<T>(url: string, read: (body: Json) => T): Promise<T> {
    this.#checkAnswers();
    try {
      const { status, text } = await request(url, { headers: { Accept: 'application/json' } });
      const answer = read(jsonIn(status, text));
      this.#failure = null;
      return answer;
    } catch (error) {
      const unavailable = this.#unavailable(inWords(error));
      this.#failure = { error: unavailable, at: Date.now() };
      throw unavailable;
    }
  }

  /** Throws UNAVAILABLE shortly after a failure, so that a slow issuer is not asked for every request. */
  #checkAnswers(): void {
    if (this.#failure !== null && Date.now() - this.#failure.at < ISSUER_RETRY_MS) throw this.#failure.error;
  }

  #keysAt(uri: string): RemoteJWKSet {
    return createRemoteJWKSet(new URL(uri), {
      cacheMaxAge: ISSUER_KEYS_LIFETIME_MS,
      cooldownDuration: ISSUER_KEYS_RETRY_MS,
      [customFetch]: async (url) => Response.json(await this.#get(url, readKeySet)),
    });
  }

  #read(body: Json): IssuerMetadata {
    // Section 4.3: otherwise one issuer could issue tokens in the name of another.
    if (body.issuer !== this.#url) throw new Error('says that it is another issuer');
    return {
      issuer: this.#url,
      jwks_uri: this.#endpoint(body.jwks_uri, 'jwks_uri'),
      authorization_endpoint: this.#optional(body.authorization_endpoint, 'authorization_endpoint'),
      token_endpoint: this.#optional(body.token_endpoint, 'token_endpoint'),
      token_endpoint_auth_methods_supported: strings(body.token_endpoint_auth_methods_supported) ?? [
        'client_secret_basic',
      ],
      scopes_supported: strings(body.scopes_supported),
    };
  }

  #optional(value: unknown, name: string): string | null {
    return value === undefined ? null : this.#endpoint(value, name);
  }

  /** An issuer elsewhere must not point to this machine, nor to an URL without TLS. */
  #endpoint(value: unknown, name: string): string {
    const isOk = typeof value === 'string' && URL.canParse(value) && !value.includes('#');
    const { protocol, hostname } = new URL(isOk ? value : 'none:');
    const here = isLoopback(new URL(this.#url).hostname);
    const isPublic = this.#allowsPrivate || !isPrivate(value as string);
    if (isPublic && (isLoopback(hostname) ? here && /^https?:$/.test(protocol) : protocol === 'https:'))
      return value as string;
    throw new Error(`names a ${name} that is not to be trusted`);
  }

  #unavailable(why: string): OciError {
    return new OciError('UNAVAILABLE', { message: `the issuer ${this.#url} ${why}` });
  }
}

/** Why an issuer on a private address is refused, and what to do. */
export const PRIVATE = 'is on a private address: set ALLOW_PRIVATE_ISSUERS=true where that is wanted';

const PRIVATE_NAME = /^[^.]+$|(?:^|\.)(?:localhost|local|internal|lan|home\.arpa)\.?$/i;

/**
 * Whether the host of a URL is private, by its name or address. It does not resolve names; on one machine workerd also
 * refuses private addresses.
 */
export function isPrivate(url: string): boolean {
  const { hostname } = new URL(url);
  return isAddress(hostname) ? isPrivateAddress(hostname) : PRIVATE_NAME.test(hostname);
}

/** Does not follow a redirect, which could lead to any host. */
async function request(
  url: string,
  init: RequestInit,
): Promise<{ status: number; text: string; type: string }> {
  const signal = AbortSignal.timeout(ISSUER_TIMEOUT_MS);
  const response = await fetch(url, { ...init, redirect: 'manual', signal });
  const type = response.headers.get('Content-Type') ?? '';
  return { status: response.status, text: await textOf(response), type };
}

async function textOf({ body }: Response): Promise<string> {
  const bytes = await readAtMost(body, ISSUER_ANSWER_MAX_BYTES);
  if (bytes !== null) return new TextDecoder().decode(bytes);
  await body?.cancel();
  throw new Error('answered with too much');
}

function jsonIn(status: number, text: string): Json {
  if (status !== 200) throw new Error(`answered ${status}`);
  const value = parsed(text);
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Json;
  throw new Error('answered with something other than a JSON object');
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function readKeySet(body: Json): Json {
  const isKey = (key: unknown) => typeof key === 'object' && key !== null && !Array.isArray(key);
  if (Array.isArray(body.keys) && body.keys.every(isKey)) return { keys: body.keys };
  throw new Error('has no key set where it says');
}

function strings(value: unknown): string[] | null {
  return Array.isArray(value) ? value.filter((entry) => typeof entry === 'string') : null;
}

/** The message of an error. Errors of the network are not quoted, because they may reveal internal addresses. */
function inWords(error: unknown): string {
  if (error instanceof Error && error.name === 'TimeoutError') return 'did not answer in time';
  return error instanceof Error &&
    error.constructor === Error &&
    /^(?:answered|says|has|names) /.test(error.message)
    ? error.message
    : 'could not be reached';
}
