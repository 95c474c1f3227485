/** The registry behind the proxy, as one client or the proxy itself is logged in to it. */
import type { IncomingMessage } from 'node:http';
import { OciError } from '../../worker/oci/errors.ts';
import { CommandFailure } from '../failure.ts';
import { Backoff } from '../transfer/backoff.ts';
import type { Credentials } from '../transfer/credentials.ts';
import { type Answer, ConnectionLost, discard, readAll, send } from '../transfer/http.ts';
import {
  isTransient,
  parameterOf,
  Registry,
  RegistryError,
  type RegistryRequest,
} from '../transfer/registry.ts';
import type { Exchange } from './answer.ts';
import { ClientLogin, type Grant, Grants } from './client-login.ts';
import { sentHeaders } from './headers.ts';
import { ANSWER_PATIENCE_MS } from './relayed-upload.ts';
import { WholeBodies } from './whole-bodies.ts';

/** Registries take manifests of 4 MiB. */
const BODY_MAX_BYTES = 8 * 1024 * 1024;
/** A form of the token service. It is remembered with the token. */
const FORM_MAX_BYTES = 16 * 1024;
const TOKEN_ANSWER_MAX_BYTES = 256 * 1024;
/** The client waits, and repeats in its own way. */
const ATTEMPTS_MAX = 5;
/** Attempts to send one chunk. A restart of the registry takes seconds, an outage of the network longer. */
const UPLOAD_ATTEMPTS_MAX = 10;
const REDIRECTS_MAX = 3;
const PING = { method: 'GET', path: '/v2/', scope: '' };
const IS_REDIRECT = new Set([301, 302, 303, 307, 308]);

export interface UpstreamOptions {
  readonly origin: string;
  /** Lent to clients that send none. */
  readonly credentials: Credentials | null;
  /** Finds these credentials again after they were refused. */
  readonly renew: () => Promise<Credentials | null>;
  readonly log: (line: string) => void;
}

export class Upstream {
  readonly origin: string;
  readonly grants = new Grants();
  readonly #own: Registry | null;
  readonly #log: (line: string) => void;
  readonly #closed = new AbortController();
  readonly #bodies = new WholeBodies();
  /** The URL of the token service, from the last challenge. */
  #realm: string | null = null;

  constructor({ origin, credentials, renew, log }: UpstreamOptions) {
    this.origin = origin;
    this.#log = log;
    this.#own =
      credentials === null
        ? null
        : new Registry({
            signal: this.#closed.signal,
            origin,
            credentials,
            renew,
            report: log,
            attemptsMax: UPLOAD_ATTEMPTS_MAX,
          });
  }

  /**
   * Checks that a registry answers, and that it takes the credentials of the proxy.
   *
   * Throws a CommandFailure.
   */
  async check(): Promise<void> {
    const status = await this.#statusOf(this.registry(new ClientLogin(undefined, null), false), PING);
    if (status !== 200 && status !== 401) {
      throw new CommandFailure(
        `${this.origin} answered GET /v2/ with ${status}, which is not the answer of a registry.\nCheck the host that --to names.`,
      );
    }
    if (this.#own === null || status === 200) return;
    const own = await this.#statusOf(this.#own, PING);
    if (own === 401 || own === 403) {
      throw new CommandFailure(
        `${this.origin} refused the credentials of this machine (status ${own}).\nLog in again, or use --credentials client.`,
      );
    }
  }

  /** Ends every request that is in progress, also one that waits for a registry that does not answer. */
  close(): void {
    this.#closed.abort(new Error('the proxy has stopped'));
  }

  /** The login of a client that sends an Authorization; null if the proxy lends its credentials. */
  loginOf({ headers }: IncomingMessage): ClientLogin | null {
    const { authorization } = headers;
    return authorization === undefined && this.#own !== null
      ? null
      : new ClientLogin(authorization, this.grants);
  }

  /** The registry for a login. One that is not known yet is tried only a few times. */
  registry(login: ClientLogin | null, isKnown = true): Registry {
    if (login === null && this.#own !== null) return this.#own;
    return new Registry({
      signal: this.#closed.signal,
      origin: this.origin,
      credentials: null,
      login: login ?? new ClientLogin(undefined, null),
      report: this.#log,
      attemptsMax: UPLOAD_ATTEMPTS_MAX,
      isKnown,
    });
  }

  /**
   * Passes a request on and returns any answer. A lost connection is repeated, and so is a registry that restarts.
   *
   * Throws RegistryError with the answer 401.
   * Throws ConnectionLost, OciError.
   */
  async forward(exchange: Exchange, scope: string): Promise<Answer> {
    const { request, method, path, query, signal } = exchange;
    const { authorization } = request.headers;
    const registry = this.registry(authorization === undefined ? null : new ClientLogin(authorization, null));
    const answer = await this.#bodies.with(request, BODY_MAX_BYTES, (body) =>
      this.#repeat(registry, {
        method,
        path: `${path}${query}`,
        scope,
        headers: sentHeaders(request.headers),
        body,
        signal,
      }),
    );
    return method === 'GET' ? this.#follow(exchange, answer) : answer;
  }

  /** Passes a request for a token on to the token service of the registry, with its answer. */
  async token(exchange: Exchange): Promise<Answer & { bytes: Buffer }> {
    const { request, method, query, signal } = exchange;
    const { authorization } = request.headers;
    const url = new URL(await this.#tokenService());
    for (const [name, value] of new URLSearchParams(query)) url.searchParams.append(name, value);
    const body = await this.#bodies.with(request, FORM_MAX_BYTES, async (form) => form);
    const sent = {
      method,
      url: url.href,
      headers: { ...sentHeaders(request.headers), ...(authorization && { Authorization: authorization }) },
      body,
    };
    const answer = await send({ ...sent, signal });
    const bytes = await readAll(answer, TOKEN_ANSWER_MAX_BYTES);
    const token = answer.status === 200 ? tokenIn(bytes) : null;
    const grant: Grant = {
      again: async () => {
        const next = await send(sent);
        const found = await readAll(next, TOKEN_ANSWER_MAX_BYTES);
        return next.status === 200 ? tokenIn(found) : null;
      },
    };
    if (token !== null) this.grants.remember(token, grant);
    return { ...answer, bytes };
  }

  /** Keeps the token service that a challenge names. */
  learn(error: unknown): void {
    if (!(error instanceof RegistryError) || error.refusal === null) return;
    const challenge = error.refusal.headers['www-authenticate'] ?? '';
    const realm = /^bearer\b/i.test(challenge) ? parameterOf(challenge, 'realm') : null;
    if (realm === null || !/^https?:\/\//.test(realm) || !URL.canParse(realm)) return;
    // Passwords go there.
    if (this.origin.startsWith('https:') && !realm.startsWith('https:')) return;
    this.#realm = realm;
  }

  async #tokenService(): Promise<string> {
    if (this.#realm === null) {
      await this.#statusOf(this.registry(new ClientLogin(undefined, null)), PING);
    }
    if (this.#realm === null) {
      throw new OciError('NAME_UNKNOWN', { message: `${this.origin} has no token service` });
    }
    return this.#realm;
  }

  async #statusOf(registry: Registry, request: RegistryRequest): Promise<number> {
    try {
      const answer = await registry.request(request);
      discard(answer);
      return answer.status;
    } catch (error) {
      this.learn(error);
      if (error instanceof RegistryError) return error.status;
      throw error;
    }
  }

  async #repeat(registry: Registry, request: RegistryRequest): Promise<Answer> {
    const backoff = new Backoff(() => ATTEMPTS_MAX, ANSWER_PATIENCE_MS);
    while (true) {
      try {
        const answer = await registry.attempt(request);
        // 429 is for the client, which is to slow down.
        if (answer.status === 429 || !isTransient(answer.status)) return answer;
        const retryAfter = answer.header('Retry-After');
        if (backoff.isSpent(retryAfter) || request.method === 'DELETE') return answer;
        discard(answer);
        await backoff.wait(retryAfter, request.signal);
      } catch (error) {
        this.learn(error);
        const isLost = error instanceof ConnectionLost;
        if (!isLost || backoff.isSpent(null) || request.method === 'DELETE') throw error;
        await backoff.wait(null, request.signal);
      }
    }
  }

  /** Follows redirects to the registry itself, which the client may not reach. Others are for the client. */
  async #follow(exchange: Exchange, first: Answer): Promise<Answer> {
    const { request, path, signal } = exchange;
    let answer = first;
    let url = new URL(path, this.origin);
    for (let left = REDIRECTS_MAX; left > 0 && IS_REDIRECT.has(answer.status); left -= 1) {
      const location = answer.header('Location');
      if (location === null || !URL.canParse(location, url.href)) break;
      url = new URL(location, url);
      if (url.origin !== this.origin) break;
      discard(answer);
      answer = await send({ method: 'GET', url: url.href, headers: sentHeaders(request.headers), signal });
    }
    return answer;
  }
}

/** The scope of a request, as a token must allow it. */
export function scopeOf(method: string, path: string): string {
  const repository = /^\/v2\/(.+)\/(?:blobs|manifests|tags|referrers)\//.exec(path)?.[1];
  if (repository === undefined) return path === '/v2/_catalog' ? 'registry:catalog:*' : '';
  const actions = { GET: 'pull', HEAD: 'pull', DELETE: 'delete' }[method] ?? 'pull,push';
  return `repository:${decodeURIComponent(repository)}:${actions}`;
}

function tokenIn(bytes: Buffer): string | null {
  try {
    const { token, access_token } = JSON.parse(bytes.toString()) as {
      token?: unknown;
      access_token?: unknown;
    };
    const found = token ?? access_token;
    return typeof found === 'string' && found !== '' ? found : null;
  } catch {
    return null;
  }
}
