/**
 * The sign-in of people by OpenID Connect: the authorization code flow with PKCE. It ends with a page that shows a
 * token for `docker login`. OpenID Connect Core, section 3.1; RFC 7636; RFC 9700.
 */

import { clientOf } from '../../access/client.ts';
import { type Person, SIGN_IN_TOKEN, type Token } from '../../access/model.ts';
import type { Env } from '../../env.ts';
import { OciError } from '../../oci/errors.ts';
import { originOf } from '../../oci/origin.ts';
import type { AuthSettings, SignInSettings } from '../../settings.ts';
import { accountsOf } from '../../stubs.ts';
import type { AuditRecorder } from '../audit-recorder.ts';
import { newToken } from '../credentials/token-text.ts';
import { authorizationUrl, claimsOf } from './authorization-code.ts';
import type { Issuers } from './issuer.ts';
import { attemptOf, cookieOf, newAttempt, noCookie } from './sign-in-attempt.ts';
import { isWanted, newConfirmation } from './sign-in-confirmation.ts';
import { confirmationPage, refusalPage, signedInPage } from './sign-in-page.ts';
import { personOf } from './sign-in-person.ts';

/** Tokens of sign-ins that a user has at once, for as many machines; the oldest is dropped. */
export const SIGN_IN_TOKENS_MAX = 5;

/** A user of this name has all rights if ADMIN_PASSWORD is set, so no person may sign in as it. */
const ADMIN = 'admin';

export class SignIn {
  readonly #env: Env;
  readonly #settings: AuthSettings;
  readonly #signIn: SignInSettings | null;
  readonly #issuers: Issuers;
  readonly #audit: AuditRecorder;
  readonly #key: () => Promise<CryptoKey>;

  /** `key` returns the HMAC key of purpose `sign-in`. */
  constructor(
    env: Env,
    settings: AuthSettings,
    signIn: SignInSettings | null,
    issuers: Issuers,
    audit: AuditRecorder,
    key: () => Promise<CryptoKey>,
  ) {
    this.#env = env;
    this.#settings = settings;
    this.#signIn = signIn;
    this.#issuers = issuers;
    this.#audit = audit;
    this.#key = key;
  }

  /**
   * `GET /auth/login`. A link on another site leads only to a page that asks for confirmation, so that no site can sign
   * a person in unnoticed. Throws NAME_UNKNOWN without an issuer.
   */
  async login(request: Request): Promise<Response> {
    const settings = this.#configured();
    if (!isWanted(request)) return this.#confirmation(request);
    return this.#paged(request, async () => {
      const origin = originOf(request);
      const attempt = newAttempt(origin);
      const url = await authorizationUrl(this.#issuers.get(settings.issuer), settings, attempt);
      const cookie = await cookieOf(attempt, await this.#key(), origin);
      const headers = { Location: url, 'Set-Cookie': cookie, 'Cache-Control': 'no-store' };
      return new Response(null, { status: 302, headers });
    });
  }

  /** `GET /auth/callback`. Throws NAME_UNKNOWN without an issuer. */
  async callback(request: Request): Promise<Response> {
    const settings = this.#configured();
    const origin = originOf(request);
    const answer = new URL(request.url).searchParams;
    let isOfCookie = false;
    const response = await this.#paged(request, async () => {
      const attempt = await attemptOf(request, await this.#key(), origin);
      isOfCookie = attempt !== null && attempt.state === answer.get('state');
      const issuer = this.#issuers.get(settings.issuer);
      const claims = await claimsOf(issuer, settings, answer, attempt);
      const person = personOf(claims, settings);
      const name = await this.#admit(person);
      const { text, expiresAt } = await this.#token(name, settings.tokenLifetimeMs);
      const client = clientOf(request, this.#settings);
      this.#audit.tokenIssued(request, client, `user:${name}`, `sign-in by ${settings.issuer}`);
      const { displayName, groups } = person;
      return signedInPage({ name, displayName, groups, host: new URL(origin).host, token: text, expiresAt });
    });
    // An answer to another sign-in, from another tab or a link of another site, must not end this one.
    if (isOfCookie) response.headers.append('Set-Cookie', noCookie(origin));
    return response;
  }

  /** The page that asks for confirmation, with the cookie that its link is bound to. */
  async #confirmation(request: Request): Promise<Response> {
    const origin = originOf(request);
    const { value, cookie } = newConfirmation(origin);
    const response = await confirmationPage(new URL(origin).host, `/auth/login?confirm=${value}`);
    response.headers.append('Set-Cookie', cookie);
    return response;
  }

  #configured(): SignInSettings {
    if (this.#signIn !== null) return this.#signIn;
    throw new OciError('NAME_UNKNOWN', { message: 'this registry has no sign-in: OIDC_ISSUER is not set' });
  }

  /** Answers an error with a page, because a person reads it. */
  async #paged(request: Request, run: () => Promise<Response>): Promise<Response> {
    try {
      return await run();
    } catch (error) {
      if (!(error instanceof OciError)) throw error;
      const client = clientOf(request, this.#settings);
      this.#audit.loginFailed(request, client, error, null, 'sign-in');
      return refusalPage(error.status, error.message);
    }
  }

  /** Stores the person, and returns the name of the user. Throws DENIED. */
  async #admit(person: Person): Promise<string> {
    const { outcome, name } = await accountsOf(this.#env).signIn(person);
    if (outcome === 'disabled') throw denied(`the user ${name} is disabled: ask the registry's admin`);
    // A link to a user of a setting would give away the rights of that setting.
    if (outcome === 'taken' || name === ADMIN || this.#settings.htpasswd.has(name)) {
      throw denied(`the name ${name} is taken by another user of this registry: ask its admin`);
    }
    return name;
  }

  /** Creates a token. The newest tokens of earlier sign-ins keep working, up to a limit. */
  async #token(owner: string, lifetimeMs: number): Promise<{ text: string; expiresAt: number }> {
    const { id, hash, text } = newToken();
    const createdAt = Date.now();
    const expiresAt = createdAt + lifetimeMs;
    const name = `${SIGN_IN_TOKEN}${id}`;
    const token: Token = { id, name, owner, hash, grants: [], expiresAt, lastUsedAt: null, createdAt };
    await accountsOf(this.#env).createSignInToken(token, SIGN_IN_TOKENS_MAX - 1);
    return { text, expiresAt };
  }
}

function denied(message: string): OciError {
  return new OciError('DENIED', { message });
}
