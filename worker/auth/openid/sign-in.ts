/**
 * Sign-in of people by OpenID Connect, where an issuer is set: authorization code with PKCE. It ends with a token of theirs
 * for the `docker login` to paste. OpenID Connect Core, section 3.1; RFC 7636; RFC 9700.
 */

import { clientOf } from '../../access/client.ts';
import { type Person, SIGN_IN_TOKEN, type Token } from '../../access/model.ts';
import type { Env } from '../../env.ts';
import { OciError } from '../../oci/errors.ts';
import { SIGN_IN_TOKENS_MAX } from '../../oci/limits.ts';
import { originOf } from '../../oci/origin.ts';
import type { AuthSettings, SignInSettings } from '../../settings.ts';
import { accountsOf } from '../../stubs.ts';
import type { Audit } from '../audit.ts';
import { newToken } from '../credentials/token-text.ts';
import { type Assertion, refused, verifyAssertion } from './assertion.ts';
import type { Issuer, IssuerMetadata, Issuers } from './issuer.ts';
import { type Attempt, attemptOf, challengeOf, cookieOf, newAttempt, noCookie } from './sign-in-attempt.ts';
import { isWanted, newConfirmation } from './sign-in-confirmation.ts';
import { confirmationPage, refusalPage, signedInPage } from './sign-in-page.ts';
import { personOf } from './sign-in-person.ts';

/** Has all rights where a password is set for it, whoever has the name. */
const ADMIN = 'admin';

export class SignIn {
  readonly #env: Env;
  readonly #settings: AuthSettings;
  readonly #signIn: SignInSettings | null;
  readonly #issuers: Issuers;
  readonly #audit: Audit;
  readonly #key: () => Promise<CryptoKey>;

  /** `key` gives the HMAC key of purpose `sign-in`. */
  constructor(
    env: Env,
    settings: AuthSettings,
    signIn: SignInSettings | null,
    issuers: Issuers,
    audit: Audit,
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
   * `GET /auth/login`. A link on another site only gets as far as a page that asks: nobody is to be signed in without wanting it.
   * Throws NAME_UNKNOWN where no issuer is set.
   */
  async login(request: Request): Promise<Response> {
    const { issuer, clientId } = this.#configured();
    if (!isWanted(request)) return this.#confirmation(request);
    return this.#paged(request, async () => {
      const { authorization_endpoint: endpoint, scopes_supported } = await this.#issuers
        .get(issuer)
        .metadata();
      if (endpoint === null) throw lacks(issuer, 'authorization_endpoint');
      const origin = originOf(request);
      const attempt = newAttempt(origin);
      const url = new URL(endpoint);
      for (const [name, value] of Object.entries({
        response_type: 'code',
        client_id: clientId,
        redirect_uri: attempt.redirectUri,
        scope: scopesOf(scopes_supported),
        state: attempt.state,
        nonce: attempt.nonce,
        code_challenge: challengeOf(attempt),
        code_challenge_method: 'S256',
      }))
        url.searchParams.set(name, value);
      const cookie = await cookieOf(attempt, await this.#key(), origin);
      const headers = { Location: url.href, 'Set-Cookie': cookie, 'Cache-Control': 'no-store' };
      return new Response(null, { status: 302, headers });
    });
  }

  /** `GET /auth/callback`. Throws NAME_UNKNOWN where no issuer is set. */
  async callback(request: Request): Promise<Response> {
    const settings = this.#configured();
    const origin = originOf(request);
    const response = await this.#paged(request, async () => {
      const attempt = await attemptOf(request, await this.#key(), origin);
      const code = codeOf(new URL(request.url).searchParams, attempt, settings.issuer);
      const claims = await this.#claims(settings, code);
      const person = personOf(claims, settings);
      const name = await this.#admit(person);
      const { text, expiresAt } = await this.#token(name, settings.tokenLifetimeMs);
      const client = clientOf(request, this.#settings);
      this.#audit.issued(request, client, `user:${name}`, `sign-in by ${settings.issuer}`);
      const { displayName, groups } = person;
      return signedInPage({ name, displayName, groups, host: new URL(origin).host, token: text, expiresAt });
    });
    response.headers.append('Set-Cookie', noCookie(origin));
    return response;
  }

  /** The page that asks, and the cookie that its link is bound to. */
  #confirmation(request: Request): Response {
    const origin = originOf(request);
    const { value, cookie } = newConfirmation(origin);
    const response = confirmationPage(new URL(origin).host, `/auth/login?confirm=${value}`);
    response.headers.append('Set-Cookie', cookie);
    return response;
  }

  #configured(): SignInSettings {
    if (this.#signIn !== null) return this.#signIn;
    throw new OciError('NAME_UNKNOWN', { message: 'this registry has no sign-in: OIDC_ISSUER is not set' });
  }

  /** What goes wrong is for a person to read. */
  async #paged(request: Request, run: () => Promise<Response>): Promise<Response> {
    try {
      return await run();
    } catch (fault) {
      if (!(fault instanceof OciError)) throw fault;
      const client = clientOf(request, this.#settings);
      this.#audit.failed(request, client, fault, null, 'sign-in');
      return refusalPage(fault.status, fault.message);
    }
  }

  /** What the issuer says about who came back with a code. */
  async #claims(settings: SignInSettings, { code, attempt }: Returned): Promise<Assertion> {
    const issuer = this.#issuers.get(settings.issuer);
    const idToken = await exchange(issuer, settings, code, attempt);
    const claims = await verifyAssertion(idToken, settings.issuer, issuer.key);
    const audiences = [claims.aud].flat();
    if (!audiences.includes(settings.clientId)) throw refused('its claim aud is not this client');
    if ((audiences.length > 1 || claims.azp !== undefined) && claims.azp !== settings.clientId) {
      throw refused('its claim azp is not this client');
    }
    if (claims.nonce !== attempt.nonce) throw refused('its claim nonce is not of this sign-in');
    return claims;
  }

  /** Writes the person down, and gives the name of the user. Throws DENIED. */
  async #admit(person: Person): Promise<string> {
    const { outcome, name } = await accountsOf(this.#env).signIn(person);
    if (outcome === 'disabled') throw denied(`the user ${name} is disabled: ask the registry's admin`);
    // A link to a user whose password is in a setting would give the setting's rights away.
    if (outcome === 'taken' || name === ADMIN || this.#settings.htpasswd.has(name)) {
      throw denied(`the name ${name} is taken by another user of this registry: ask its admin`);
    }
    return name;
  }

  /** One more token: those of earlier sign-ins go on, up to a number of them. */
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

interface Returned {
  code: string;
  attempt: Attempt;
}

/** Throws UNAUTHORIZED. */
function codeOf(query: URLSearchParams, attempt: Attempt | null, issuer: string): Returned {
  if (attempt === null) throw refusal('this sign-in has expired, or was begun in another browser');
  if (query.get('state') !== attempt.state) throw refusal('this answer belongs to another sign-in');
  // RFC 9207: where it says which issuer answers, it must be the one that was asked.
  if ((query.get('iss') ?? issuer) !== issuer) throw refusal('another issuer has answered');
  const error = query.get('error');
  if (error !== null) throw refusal(`the issuer says: ${error.slice(0, 100)}`);
  const code = query.get('code');
  if (code === null || code === '') throw refusal('the issuer has sent no code');
  return { code, attempt };
}

/** The ID token for a code. Throws UNAUTHORIZED, UNAVAILABLE. */
async function exchange(
  issuer: Issuer,
  { issuer: url, clientId, clientSecret }: SignInSettings,
  code: string,
  { verifier, redirectUri }: Attempt,
): Promise<string> {
  const metadata = await issuer.metadata();
  if (metadata.token_endpoint === null) throw lacks(url, 'token_endpoint');
  const form = new URLSearchParams({ grant_type: 'authorization_code', code, redirect_uri: redirectUri });
  form.set('code_verifier', verifier);
  const headers: Record<string, string> = { 'Content-Type': 'application/x-www-form-urlencoded' };
  if (clientSecret !== null && !takesSecretInForm(metadata)) {
    headers.Authorization = `Basic ${btoa(`${encoded(clientId)}:${encoded(clientSecret)}`)}`;
  } else {
    form.set('client_id', clientId);
    if (clientSecret !== null) form.set('client_secret', clientSecret);
  }
  const init = { method: 'POST', headers, body: form.toString() };
  const { id_token } = await issuer.ask(metadata.token_endpoint, init, (body) => body);
  if (typeof id_token === 'string') return id_token;
  throw refusal('the issuer has sent no ID token');
}

/** The header is what every issuer should take (RFC 6749, section 2.3.1); some take only the form. */
function takesSecretInForm({ token_endpoint_auth_methods_supported: methods }: IssuerMetadata): boolean {
  return methods.includes('client_secret_post') && !methods.includes('client_secret_basic');
}

/** As in a form: RFC 6749, appendix B. */
function encoded(text: string): string {
  return new URLSearchParams({ text }).toString().slice('text='.length);
}

/** Some issuers refuse a scope that they do not know, and some tell groups only where they are asked to. */
function scopesOf(supported: string[] | null): string {
  const wanted = supported === null ? ['profile', 'email'] : ['profile', 'email', 'groups'];
  return ['openid', ...wanted.filter((scope) => supported === null || supported.includes(scope))].join(' ');
}

function lacks(issuer: string, what: string): OciError {
  return new OciError('UNAVAILABLE', { message: `the issuer ${issuer} names no ${what}` });
}

function refusal(message: string): OciError {
  return new OciError('UNAUTHORIZED', { message });
}

function denied(message: string): OciError {
  return new OciError('DENIED', { message });
}
