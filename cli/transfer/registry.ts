/**
 * A client of one registry: log-in, repetition, errors. It knows the distribution API of any registry, and nothing of images.
 * Distribution spec; CNCF distribution docs, "Token Authentication Specification".
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { Digest } from '../../worker/oci/digest.ts';
import { printableLines } from '../../worker/oci/printable.ts';
import { CommandFailure, EXIT } from '../failure.ts';
import { Backoff } from './backoff.ts';
import type { Credentials } from './credentials.ts';
import {
  type Answer,
  type Body,
  bodyOf,
  ConnectionLost,
  discard,
  readAll,
  readErrorText,
  send,
} from './http.ts';

const TOKEN_MAX_BYTES = 256 * 1024;
const MANIFEST_MAX_BYTES = 16 * 1024 * 1024;
/** Attempts of a request, unless the caller says otherwise. */
const ATTEMPTS_MAX = 6;
/** Attempts before the registry has answered anything: its name may be wrong. */
const FIRST_ATTEMPTS_MAX = 3;
const REDIRECTS_MAX = 5;
/** Codes of Node for a certificate. Another attempt does not help. Node docs, "TLS: X509 certificate error codes". */
const CERTIFICATE_ERROR = /^(?:ERR_TLS_CERT_|CERT_|.*SELF_SIGNED_CERT|UNABLE_TO_(?:GET_ISSUER|VERIFY_LEAF))/;

/** Every type of manifest that registries serve. */
const MANIFEST_TYPES = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.docker.distribution.manifest.v2+json',
];

/** Where the value of Authorization comes from, for each scope. */
export interface Login {
  /** The value for a scope, or undefined before the first log-in. */
  authorization(scope: string): string | undefined;
  /**
   * The registry refused `refused` with a challenge. True if there is now another value.
   *
   * Throws RegistryError if the credentials are refused.
   */
  renew(challenge: string, scope: string, refused: string | undefined): Promise<boolean>;
}

export interface RegistryOptions {
  /** `https://registry.example.com`. */
  readonly origin: string;
  readonly credentials: Credentials | null;
  /** In the place of `credentials`. */
  readonly login?: Login;
  readonly signal?: AbortSignal | undefined;
  /** Gets a sentence for each repetition, such as "ECONNRESET; trying again". */
  readonly report?: (message: string) => void;
  /** Attempts without progress. */
  readonly attemptsMax?: number;
  /** True if the registry has answered this process before. */
  readonly isKnown?: boolean;
  /** Finds credentials again after they were refused. Those of a CI job expire. */
  readonly renew?: () => Promise<Credentials | null>;
}

/** A request of the distribution API. */
export interface RegistryRequest {
  method: string;
  /** A path of the registry, or a URL, such as a `Location`. */
  path: string;
  /** What a token must allow: `repository:team/app:pull,push`. Several are separated by spaces; "" asks for nothing. */
  scope: string;
  headers?: Record<string, string>;
  body?: Body | null;
  /** Ends this request only. */
  signal?: AbortSignal | undefined;
  /** `request` repeats it for this long, in ms. Default: until no attempt is left. */
  patienceMs?: number | undefined;
}

/** The answer that an error was made of. */
export interface Refusal {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** An answer of a registry that is no success. */
export class RegistryError extends CommandFailure {
  readonly status: number;
  /** The code of the first error, such as MANIFEST_UNKNOWN; null if the answer was in another form. */
  readonly code: string | null;
  readonly refusal: Refusal | null;

  constructor(message: string, status: number, code: string | null, refusal: Refusal | null = null) {
    super(message, status === 401 || status === 403 ? EXIT.refused : EXIT.failed);
    this.status = status;
    this.code = code;
    this.refusal = refusal;
  }
}

export interface StoredManifest {
  readonly digest: string | null;
  readonly mediaType: string;
  readonly bytes: Buffer;
}

export class Registry {
  readonly origin: string;
  readonly signal: AbortSignal | undefined;
  readonly #login: Login;
  readonly #isOwnLogin: boolean;
  #credentials: Credentials | null;
  readonly #renew: () => Promise<Credentials | null>;
  readonly #attemptsMax: number;
  #hasAnswered: boolean;
  readonly #report: (message: string) => void;
  /** The value of Authorization, for each scope. */
  readonly #authorizations = new Map<string, string>();
  /** Log-ins that are in progress, so that blobs that start together log in once. */
  readonly #logins = new Map<string, Promise<void>>();

  constructor({
    origin,
    credentials,
    login,
    signal,
    report = () => {},
    attemptsMax = ATTEMPTS_MAX,
    isKnown = false,
    renew = async () => null,
  }: RegistryOptions) {
    this.origin = origin;
    this.signal = signal;
    this.#credentials = credentials;
    this.#isOwnLogin = login === undefined;
    this.#login = login ?? {
      authorization: (scope) => this.#authorizations.get(scope),
      renew: (challenge, scope, refused) => this.#logIn(challenge, scope, refused),
    };
    this.#report = report;
    this.#attemptsMax = attemptsMax;
    this.#hasAnswered = isKnown;
    this.#renew = renew;
  }

  /** The waits of an operation that the caller repeats. */
  backoff(patienceMs?: number): Backoff {
    return new Backoff(() => (this.#hasAnswered ? this.#attemptsMax : FIRST_ATTEMPTS_MAX), patienceMs);
  }

  /**
   * Sends a request once; twice if the first one needs a log-in. Returns any answer but 401.
   *
   * Throws ConnectionLost.
   * Throws RegistryError with status 401 if the credentials are refused.
   */
  async attempt({ method, path, scope, headers, body = null, signal }: RegistryRequest): Promise<Answer> {
    const url = new URL(path, this.origin);
    const isOwn = url.origin === this.origin;
    for (let isFirst = true; ; isFirst = false) {
      const authorization = isOwn ? this.#login.authorization(scope) : undefined;
      const own = authorization === undefined ? {} : { Authorization: authorization };
      const answer = await send({
        method,
        url: url.href,
        headers: { ...headers, ...own },
        body,
        signal: either(this.signal, signal),
      });
      if (isOwn) this.#hasAnswered = true;
      if (answer.status !== 401 || !isOwn || !isFirst) {
        if (answer.status === 401)
          throw this.#refused(await this.failure(answer, `${method} ${url.pathname}`));
        return answer;
      }
      const challenge = answer.header('WWW-Authenticate') ?? '';
      const failure = await this.failure(answer, `${method} ${url.pathname}`);
      if (!(await this.#login.renew(challenge, scope, authorization))) throw this.#refused(failure);
    }
  }

  /**
   * Sends a request until it is answered by anything but 429 or a 5xx.
   *
   * Throws ConnectionLost, or the last RegistryError, after the last attempt.
   */
  async request(request: RegistryRequest): Promise<Answer> {
    const backoff = this.backoff(request.patienceMs);
    while (true) {
      try {
        const answer = await this.attempt(request);
        if (!isTransient(answer.status)) return answer;
        const failure = await this.failure(answer, `${request.method} ${request.path.split('?')[0]}`);
        await this.pause(backoff, failure, answer.header('Retry-After'));
      } catch (error) {
        if (!(error instanceof ConnectionLost)) throw error;
        await this.pause(backoff, error, null);
      }
    }
  }

  /** Waits before the next attempt, and says so. Throws `error` if no attempt is left. */
  async pause(backoff: Backoff, error: Error, retryAfter: string | null, leastMs = 0): Promise<void> {
    this.signal?.throwIfAborted();
    if (error instanceof ConnectionLost && CERTIFICATE_ERROR.test(error.message)) {
      throw new CommandFailure(
        `The certificate of ${this.origin} is not trusted: ${error.message}.\nIf it is your own, set NODE_EXTRA_CA_CERTS to its file, or to that of its authority.`,
        EXIT.network,
      );
    }
    if (backoff.isSpent(retryAfter)) {
      if (!(error instanceof ConnectionLost)) throw error;
      throw new CommandFailure(
        `The connection to ${this.origin} failed: ${error.message}.\nCheck the network and that the registry runs, then try again.`,
        EXIT.network,
      );
    }
    this.#report(`${error.message.split('\n')[0]}; trying again`);
    await backoff.wait(retryAfter, this.signal, leastMs);
  }

  /** Whether the repository has a blob of this digest and size (in bytes). */
  async hasBlob(
    repository: string,
    digest: Digest,
    size: number,
    scope = pullPush(repository),
  ): Promise<boolean> {
    const path = `/v2/${repository}/blobs/${digest}`;
    const answer = await this.request({ method: 'HEAD', path, scope });
    discard(answer);
    const length = answer.header('Content-Length');
    // With another size, its bytes are damaged. A push replaces them.
    if (answer.status === 200) return length === null || Number(length) === size;
    // Registries without pulls of single blobs answer HEAD with a redirect; there the blob exists.
    if (answer.status === 307 || answer.status === 302) return true;
    if (answer.status === 404) return false;
    throw await this.failure(answer, `HEAD ${path}`);
  }

  /**
   * The bytes of a blob from an offset. The caller reads the body to its end and checks the digest.
   *
   * Throws RegistryError, for example with status 404.
   */
  async blob(repository: string, digest: Digest, offset = 0): Promise<Answer> {
    const headers: Record<string, string> = offset === 0 ? {} : { Range: `bytes=${offset}-` };
    const path = `/v2/${repository}/blobs/${digest}`;
    const answer = await this.#follow({ method: 'GET', path, scope: pull(repository), headers });
    if (answer.status !== (offset === 0 ? 200 : 206)) throw await this.failure(answer, `GET ${path}`);
    return answer;
  }

  /**
   * A manifest by tag or digest.
   *
   * Throws RegistryError, for example with status 404.
   */
  async manifest(repository: string, reference: string): Promise<StoredManifest> {
    const path = `/v2/${repository}/manifests/${reference}`;
    const headers = { Accept: [...MANIFEST_TYPES, '*/*;q=0.1'].join(', ') };
    const answer = await this.#follow({ method: 'GET', path, scope: pull(repository), headers });
    if (answer.status !== 200) throw await this.failure(answer, `GET ${path}`);
    return {
      digest: answer.header('Docker-Content-Digest'),
      mediaType: (answer.header('Content-Type') ?? '').split(';')[0] ?? '',
      bytes: await readAll(answer, MANIFEST_MAX_BYTES),
    };
  }

  /**
   * Stores a manifest under a tag or its digest. Returns the digest that the registry says it has stored; null if it says none. `tag`
   * is set beside a digest. Distribution spec, "Pushing Manifests": the algorithm of a manifest that is pushed by its tag is sha256.
   *
   * Throws RegistryError.
   * Throws a CommandFailure if the registry does not set `tag`.
   */
  async putManifest(
    repository: string,
    reference: string,
    mediaType: string,
    bytes: Uint8Array,
    tag: string | null = null,
  ): Promise<string | null> {
    const path = `/v2/${repository}/manifests/${reference}${tag === null ? '' : `?tag=${tag}`}`;
    const headers = { 'Content-Type': mediaType };
    const answer = await this.request({
      method: 'PUT',
      path,
      scope: pullPush(repository),
      headers,
      body: bodyOf(bytes),
    });
    if (answer.status !== 201) throw await this.failure(answer, `PUT ${path}`);
    discard(answer);
    if (tag !== null && answer.header('OCI-Tag') !== tag) {
      throw new CommandFailure(
        `${this.origin} has stored the manifest ${reference}, but it cannot give the tag ${tag} to a digest that is not sha256.\nPush by digest, or build the image with sha256.`,
      );
    }
    return answer.header('Docker-Content-Digest');
  }

  /** Reads the error that an answer holds. Never throws. */
  async failure(answer: Answer, what: string): Promise<RegistryError> {
    const body = await readErrorText(answer);
    const errors = errorsIn(body);
    const words = errors.map(({ code, message }) => message || code).filter(Boolean);
    const said = words.length > 0 ? words.join('\n') : reasonIn(body);
    return new RegistryError(
      printableLines(`${this.origin} answered ${what} with ${answer.status}: ${said}`),
      answer.status,
      errors[0]?.code ?? null,
      { headers: answer.body.headers, body },
    );
  }

  /** GET with its redirects. Another origin does not get the credentials. */
  async #follow(request: RegistryRequest): Promise<Answer> {
    let next = request;
    for (let left = REDIRECTS_MAX; left > 0; left -= 1) {
      const answer = await this.request(next);
      const location = answer.header('Location');
      if (![301, 302, 303, 307, 308].includes(answer.status) || location === null) return answer;
      discard(answer);
      next = { ...request, path: new URL(location, new URL(next.path, this.origin)).href };
    }
    throw new CommandFailure(`${this.origin} redirected ${request.path} more than ${REDIRECTS_MAX} times.`);
  }

  /** True if there is now another Authorization for the scope than the one that was refused. */
  async #logIn(challenge: string, scope: string, refused: string | undefined): Promise<boolean> {
    const running = this.#logins.get(scope);
    if (running !== undefined) {
      await running;
    } else if (this.#authorizations.get(scope) === refused) {
      const login = this.#authorize(challenge, scope).finally(() => this.#logins.delete(scope));
      this.#logins.set(scope, login);
      await login;
    }
    const now = this.#authorizations.get(scope);
    return now !== undefined && now !== refused;
  }

  async #authorize(challenge: string, scope: string): Promise<void> {
    if (/^basic\b/i.test(challenge)) {
      if (this.#credentials !== null) this.#authorizations.set(scope, basic(this.#credentials));
      return;
    }
    const realm = parameterOf(challenge, 'realm');
    if (!/^bearer\b/i.test(challenge) || realm === null || !/^https?:/i.test(realm) || !URL.canParse(realm))
      return;
    const url = new URL(realm);
    if (url.protocol !== 'https:' && this.origin.startsWith('https:')) {
      throw new CommandFailure(
        `${this.origin} asks for credentials at ${realm}, which is not encrypted. They were not sent.`,
      );
    }
    const service = parameterOf(challenge, 'service');
    if (service !== null) url.searchParams.set('service', service);
    for (const one of scope.split(' ').filter(Boolean)) url.searchParams.append('scope', one);
    let answer = await this.#token(url.href);
    if (answer.status === 401 && this.#credentials !== null) {
      const renewed = await this.#renew();
      if (renewed !== null && renewed.password !== this.#credentials.password) {
        discard(answer);
        this.#credentials = renewed;
        answer = await this.#token(url.href);
      }
    }
    if (answer.status !== 200) throw this.#refused(await this.failure(answer, 'the log-in'));
    this.#authorizations.set(scope, `Bearer ${tokenIn(await readAll(answer, TOKEN_MAX_BYTES), url.host)}`);
  }

  /** The same error, with what a person can do. */
  #refused(error: RegistryError): RegistryError {
    const { message, status, code, refusal } = error;
    // Another login is that of a client, who gets the error of the registry.
    if (status !== 401 || !this.#isOwnLogin) return error;
    const host = new URL(this.origin).host;
    const advice =
      this.#credentials === null
        ? `No credentials for ${host} were found: use docker login, or set LONGSHORE_USER and LONGSHORE_PASSWORD.`
        : `Check that the user name and the password or token are those of ${host}, and have not expired.`;
    return new RegistryError(`${message}\n${advice}`, status, code, refusal);
  }

  async #token(url: string): Promise<Answer> {
    const headers: Record<string, string> =
      this.#credentials === null ? {} : { Authorization: basic(this.#credentials) };
    const backoff = this.backoff();
    while (true) {
      try {
        const answer = await send({ method: 'GET', url, headers, signal: this.signal });
        if (!isTransient(answer.status)) return answer;
        await this.pause(backoff, await this.failure(answer, 'the log-in'), answer.header('Retry-After'));
      } catch (error) {
        if (!(error instanceof ConnectionLost)) throw error;
        await this.pause(backoff, error, null);
      }
    }
  }
}

export function pull(repository: string): string {
  return `repository:${repository}:pull`;
}

export function pullPush(repository: string): string {
  return `repository:${repository}:pull,push`;
}

/** Whether the same request may succeed a little later. */
export function isTransient(status: number): boolean {
  return (
    status === 429 || status === 408 || status === 425 || (status >= 500 && status !== 501 && status !== 505)
  );
}

function either(one: AbortSignal | undefined, other: AbortSignal | undefined): AbortSignal | undefined {
  return one !== undefined && other !== undefined ? AbortSignal.any([one, other]) : (one ?? other);
}

function basic({ username, password }: Credentials): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

/** A parameter of a challenge, or null. RFC 9110, section 11.6.1. */
export function parameterOf(challenge: string, name: string): string | null {
  const quoted = new RegExp(`[\\s,]${name}="([^"]*)"`, 'i').exec(challenge)?.[1];
  return quoted ?? new RegExp(`[\\s,]${name}=([^\\s,"]+)`, 'i').exec(challenge)?.[1] ?? null;
}

function errorsIn(body: string): { code: string; message: string }[] {
  try {
    const { errors } = JSON.parse(body) as { errors?: { code?: unknown; message?: unknown }[] };
    if (!Array.isArray(errors)) return [];
    return errors.map(({ code, message }) => ({
      code: typeof code === 'string' ? code : '',
      message: typeof message === 'string' ? message : '',
    }));
  } catch {
    return [];
  }
}

/** What a body that is not JSON says: the title of a page, or its beginning. */
function reasonIn(body: string): string {
  const title = /<title[^>]*>([^<]{1,200})/i.exec(body)?.[1];
  return (title ?? body.slice(0, 200)).trim() || 'no reason';
}

/** Throws a CommandFailure if there is none, or one that no header can hold. */
function tokenIn(bytes: Buffer, host: string): string {
  let answer: unknown = null;
  try {
    answer = JSON.parse(bytes.toString());
  } catch {
    // Not JSON.
  }
  const { token, access_token } = (answer ?? {}) as { token?: unknown; access_token?: unknown };
  const value = token ?? access_token;
  if (typeof value === 'string' && /^[\x21-\x7e]+$/.test(value)) return value;
  throw new CommandFailure(
    `The token service at ${host} did not answer with a token.\nCheck that the address is that of a registry, and what stands in front of it.`,
  );
}
