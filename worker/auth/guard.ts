/**
 * Admits requests to the registry: checks the credentials and the required access, and returns the registry wrapped for
 * the caller, which checks the rest (sources of mounts, tags, uploads).
 */

import { createHmac, randomBytes } from 'node:crypto';
import QuickLRU from 'quick-lru';
import { type Client, clientOf } from '../access/client.ts';
import { checkClient } from '../access/conditions.ts';
import type { Denial, Identity } from '../access/decide.ts';
import { checkLocal } from '../access/local.ts';
import type { Action, RequiredAccess } from '../access/model.ts';
import { requiredScopes } from '../access/required-scopes.ts';
import type { Scope } from '../access/scope.ts';
import { memory } from '../memory/budget.ts';
import { OciError } from '../oci/errors.ts';
import { originOf } from '../oci/origin.ts';
import { parseRepositoryName } from '../oci/reference.ts';
import type { Registry } from '../oci/registry.ts';
import type { AuthSettings } from '../settings.ts';
import type { AuditRecorder } from './audit-recorder.ts';
import { AuthorizedRegistry } from './authorized-registry.ts';
import type { Caller } from './caller.ts';
import type { Authenticator } from './credentials/authenticator.ts';
import { authorizationOf } from './credentials/authorization.ts';
import type { RequestLimit } from './request-limit.ts';
import type { AccessTokens, Claims } from './tokens/access-tokens.ts';
import { challenge } from './tokens/challenge.ts';
import { claimsFor } from './tokens/claims.ts';
import type { KeyRing } from './tokens/key-ring.ts';

/** How long an isolate remembers an identity of Basic credentials at most, in seconds. */
const IDENTITY_LIFETIME_MAX_S = 300;
/** Identities of Basic credentials that an isolate remembers. */
const IDENTITIES_REMEMBERED = 500;

export class Guard {
  readonly #registry: Registry;
  readonly #settings: AuthSettings;
  readonly #keys: KeyRing;
  readonly #tokens: AccessTokens;
  readonly #authenticator: Authenticator;
  readonly #audit: AuditRecorder;
  readonly #limit: RequestLimit | undefined;
  /** Identities of recent Basic credentials, by a keyed hash of these, for as long as a token would live. */
  readonly #identities = new QuickLRU<string, { identity: Identity; until: number }>({
    maxSize: IDENTITIES_REMEMBERED,
  });
  readonly #key = randomBytes(32);
  /** Requests with valid credentials, or with a token, of a user or a robot. */
  readonly #known = new WeakSet<Request>();
  readonly #senders = new WeakMap<Request, string>();

  constructor(
    registry: Registry,
    settings: AuthSettings,
    keys: KeyRing,
    tokens: AccessTokens,
    authenticator: Authenticator,
    audit: AuditRecorder,
    limit: RequestLimit | undefined,
  ) {
    this.#registry = registry;
    this.#settings = settings;
    this.#keys = keys;
    this.#tokens = tokens;
    this.#authenticator = authenticator;
    this.#audit = audit;
    this.#limit = limit;
    keys.onChange(() => this.#identities.clear());
  }

  /**
   * The registry as this request may use it. `name` is the repository in the path.
   *
   * Throws UNAUTHORIZED with a challenge.
   * Throws DENIED where no other token would help.
   * Throws TOOMANYREQUESTS.
   */
  async admit(request: Request, required: RequiredAccess, name: string | null): Promise<Registry> {
    if (isOpen(this.#settings, request)) {
      this.#known.add(request);
      return this.#registry;
    }
    const scopes = requiredScopes(required, name, new URL(request.url));
    const caller = await this.#caller(request, scopes);
    await this.#checkRate(caller, required, name);
    this.#senders.set(request, keyOf(caller));
    if (required === 'none') return this.#registry;
    // No token would help for an invalid name, so this comes before the challenge.
    if (name !== null) parseRepositoryName(name);
    if (required === 'catalog') {
      if (caller.claims.catalog) return this.#registry;
      throw this.#refusal(
        caller,
        scopes,
        `${caller.claims.subject} may not list all repositories: that needs a role on **`,
      );
    }
    const access = caller.claims.access.find((entry) => entry.name === name);
    if (access === undefined || !access.actions.includes(required)) {
      const denial = denialOf(caller.claims, name ?? '', required);
      // After a denial a scope for the source would not help, and podman logs an error for a challenge with two scopes.
      const wanted = denial === undefined ? scopes : scopes.slice(0, 1);
      throw this.#refusal(caller, wanted, denial?.why ?? notAskedFor(name ?? '', required));
    }
    try {
      checkClient(access, caller.client);
    } catch (error) {
      this.#audit.denied(caller, required, name, error instanceof OciError ? error.message : '');
      throw error;
    }
    return new AuthorizedRegistry(this.#registry, caller, access, this.#audit);
  }

  /** Whether the request came from a user or a robot. True also if it was refused. */
  knows(request: Request): boolean {
    return this.#known.has(request);
  }

  /** The user or robot, or the address of an anonymous client. Empty where access control is off. */
  senderOf(request: Request): string {
    return this.#senders.get(request) ?? '';
  }

  /**
   * Counts the body of a request against the bounds of its sender for as long as `read` runs, and its bytes as they arrive.
   *
   * Throws TooManyBodies.
   * Throws UNAVAILABLE.
   */
  whileReceiving<T>(
    request: Request,
    read: (arrived: (bytes: number) => Promise<void>) => Promise<T>,
  ): Promise<T> {
    return memory.whileReceiving(this.senderOf(request), read);
  }

  async #caller(request: Request, scopes: Scope[]): Promise<Caller> {
    const credentials = authorizationOf(request);
    const client = clientOf(request, this.#settings);
    if (credentials === null)
      throw challenge(request, scopes, 'authentication required: log in, or get a token');
    await this.#keys.refresh();
    if (credentials.kind === 'bearer') {
      const claims = await this.#tokens.verify(credentials.token, originOf(request));
      if (claims === null)
        throw challenge(request, scopes, 'this token is not valid here: get a new one', 'invalid_token');
      if (this.#keys.isRevoked(claims.subject, claims.revision)) {
        throw challenge(request, scopes, 'this token has been revoked: log in again', 'invalid_token');
      }
      if (claims.subject !== 'anonymous') this.#known.add(request);
      const caller = { claims, client, isLive: false, request };
      if (claims.expiresAt * 1000 > Date.now() || isUpload(request)) return caller;
      throw challenge(request, scopes, 'this token has expired: get a new one', 'invalid_token');
    }
    try {
      const identity = await this.#identity(credentials, client, originOf(request));
      this.#known.add(request);
      return { claims: await claimsFor(identity, scopes, this.#registry), client, isLive: true, request };
    } catch (error) {
      if (!(error instanceof OciError) || !/^(?:UNAUTHORIZED|TOOMANYREQUESTS)$/.test(error.code)) throw error;
      this.#audit.loginFailed(request, client, error, credentials.name);
      if (error.code !== 'UNAUTHORIZED') throw error;
      throw challenge(request, scopes, error.message, 'invalid_token');
    }
  }

  /** Throws TOOMANYREQUESTS. */
  async #checkRate(caller: Caller, required: RequiredAccess, name: string | null): Promise<void> {
    try {
      await checkRate(this.#limit, keyOf(caller));
    } catch (error) {
      this.#audit.denied(caller, required, name, error instanceof OciError ? error.message : '');
      throw error;
    }
  }

  async #identity(
    credentials: { name: string; password: string },
    client: Client,
    origin: string,
  ): Promise<Identity> {
    const mark = createHmac('sha256', this.#key)
      .update(JSON.stringify([credentials.name, credentials.password]))
      .digest('base64');
    const known = this.#identities.get(mark);
    if (known !== undefined && known.until > Date.now()) return known.identity;
    await checkRate(this.#limit, client.address);
    const identity = await this.#authenticator.identify(credentials, client, origin);
    // The login may have waited, and the password may have changed meanwhile.
    await this.#keys.refresh();
    if (this.#keys.isRevoked(identity.subject, identity.revision)) {
      throw new OciError('UNAUTHORIZED', {
        message: 'these credentials have just been changed: log in again',
      });
    }
    const lifetime = Math.min(this.#settings.tokenLifetime, IDENTITY_LIFETIME_MAX_S);
    this.#identities.set(mark, { identity, until: Date.now() + lifetime * 1000 });
    return identity;
  }

  #refusal(caller: Caller, scopes: Scope[], why: string): OciError {
    const [scope] = scopes;
    this.#audit.denied(caller, scope?.actions.at(-1) ?? '', scope?.name ?? null, why);
    return challenge(caller.request, scopes, why, 'insufficient_scope');
  }
}

/** The key of the limits: the user or robot, or the address of an anonymous client. */
function keyOf({ claims, client }: Caller): string {
  return claims.subject === 'anonymous' ? client.address : claims.subject;
}

/** Throws TOOMANYREQUESTS. */
export async function checkRate(limit: RequestLimit | undefined, key: string): Promise<void> {
  if (limit === undefined || key === '' || (await limit.limit({ key })).success) return;
  throw new OciError('TOOMANYREQUESTS', {
    message: 'too many requests: try again in a minute',
    headers: { 'Retry-After': '60' },
  });
}

/** Whether access control is off. Throws DENIED if it is off and the request does not come from this machine. */
export function isOpen({ off, setsCfHeaders }: AuthSettings, request: Request): boolean {
  if (off) checkLocal(request, setsCfHeaders);
  return off;
}

/** The reason that the claims were issued without an action. */
function denialOf(claims: Claims, name: string, action: Action): Denial | undefined {
  return claims.denials.find((entry) => entry.name === name && entry.actions.includes(action));
}

function notAskedFor(name: string, action: Action): string {
  return `this needs ${action} on ${name}, which the token was not requested for: request a new one`;
}

/** Whether a request continues an upload. An expired token is accepted for these if the upload began in time. */
function isUpload(request: Request): boolean {
  return request.method !== 'POST' && /\/blobs\/uploads\/[^/]+$/.test(new URL(request.url).pathname);
}
