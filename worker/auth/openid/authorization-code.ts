/**
 * The authorization code flow with PKCE, as a client of the issuer: the request, the answer in the browser's URL, and the ID token
 * for the code. OpenID Connect Core, section 3.1; RFC 7636; RFC 9207; RFC 9700. oauth4webapi does the protocol.
 */
import * as oauth from 'oauth4webapi';
import { OciError } from '../../oci/errors.ts';
import { CLOCK_SKEW_S } from '../../oci/limits.ts';
import type { SignInSettings } from '../../settings.ts';
import { ALGORITHMS, type Assertion, refused, verifyAssertion } from './assertion.ts';
import type { Issuer, IssuerMetadata } from './issuer.ts';
import type { Attempt } from './sign-in-attempt.ts';

/** The URL of the issuer that starts a sign-in. Throws UNAVAILABLE. */
export async function authorizationUrl(
  issuer: Issuer,
  { clientId }: SignInSettings,
  { state, nonce, verifier, redirectUri }: Attempt,
): Promise<string> {
  const metadata = await issuer.metadata();
  if (metadata.authorization_endpoint === null) throw lacks(metadata, 'authorization_endpoint');
  const url = new URL(metadata.authorization_endpoint);
  const parameters = {
    response_type: 'code',
    client_id: clientId,
    redirect_uri: redirectUri,
    scope: scopesOf(metadata.scopes_supported),
    state,
    nonce,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
  };
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  return url.href;
}

/**
 * The claims of the ID token that the issuer gives for the code in its answer. `attempt` is null if the browser has no
 * valid cookie of a sign-in.
 *
 * Throws UNAUTHORIZED, which says what is wrong with the answer or the token.
 * Throws UNAVAILABLE if the issuer does not answer.
 */
export async function claimsOf(
  issuer: Issuer,
  settings: SignInSettings,
  answer: URLSearchParams,
  attempt: Attempt | null,
): Promise<Assertion> {
  if (attempt === null) throw refusal('this sign-in has expired, or was begun in another browser');
  const metadata = await issuer.metadata();
  if (metadata.token_endpoint === null) throw lacks(metadata, 'token_endpoint');
  const server: oauth.AuthorizationServer = {
    issuer: metadata.issuer,
    token_endpoint: metadata.token_endpoint,
    id_token_signing_alg_values_supported: ALGORITHMS,
  };
  const client: oauth.Client = { client_id: settings.clientId, [oauth.clockTolerance]: CLOCK_SKEW_S };
  const { id_token: idToken = '' } = await inOurWords(metadata.issuer, async () => {
    const code = oauth.validateAuthResponse(server, client, answer, attempt.state);
    const response = await oauth.authorizationCodeGrantRequest(
      server,
      client,
      clientAuth(settings, metadata),
      code,
      attempt.redirectUri,
      attempt.verifier,
      // `Issuer` has checked the endpoint: http is only for issuers on this machine.
      { [oauth.customFetch]: (url, init) => issuer.post(url, init), [oauth.allowInsecureRequests]: true },
    );
    return oauth.processAuthorizationCodeResponse(server, client, response, {
      expectedNonce: attempt.nonce,
      requireIdToken: true,
    });
  });
  const claims = await verifyAssertion(idToken, metadata.issuer, issuer.key);
  // OpenID Connect Core, section 3.1.3.7: also where there is one audience, which oauth4webapi does not check.
  if (claims.azp !== undefined && claims.azp !== settings.clientId) {
    throw refused('its claim azp is not this client');
  }
  return claims;
}

/** Every issuer should accept the header (RFC 6749, section 2.3.1). Some accept only the form. */
function clientAuth(
  { clientSecret }: SignInSettings,
  { token_endpoint_auth_methods_supported: methods }: IssuerMetadata,
): oauth.ClientAuth {
  if (clientSecret === null) return oauth.None();
  const takesOnlyForm = methods.includes('client_secret_post') && !methods.includes('client_secret_basic');
  return takesOnlyForm ? oauth.ClientSecretPost(clientSecret) : oauth.ClientSecretBasic(clientSecret);
}

/** Turns the errors of oauth4webapi into messages for the person who signs in. */
async function inOurWords<T>(issuer: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof OciError) throw error;
    if (error instanceof oauth.AuthorizationResponseError) {
      throw refusal(`the issuer says: ${error.error.slice(0, 100)}`);
    }
    if (error instanceof oauth.ResponseBodyError) {
      const code = error.error.replace(/[^\w.-]/g, '').slice(0, 50);
      throw refusal(`the issuer ${issuer} refused the request: ${code}`);
    }
    if (error instanceof oauth.OperationProcessingError) throw refusal(messageOf(issuer, error));
    if (error instanceof oauth.UnsupportedOperationError) {
      throw refusal(`the answer of the issuer ${issuer} is not supported: ${error.message}`);
    }
    throw error;
  }
}

/** Messages for the common errors. Others quote oauth4webapi. */
function messageOf(issuer: string, { code, message, cause }: oauth.OperationProcessingError): string {
  const { claim } = (cause ?? {}) as { claim?: string };
  if (code === oauth.JWT_TIMESTAMP_CHECK && claim === 'exp')
    return 'the token is refused: it has expired (exp)';
  if (claim !== undefined) return `the token is refused: ${message}`;
  if (message.includes('"state"')) return 'this answer belongs to another sign-in';
  if (message.includes('"iss" (issuer) response')) return 'another issuer has answered';
  if (message.startsWith('no authorization code')) return 'the issuer has sent no code';
  if (code === oauth.RESPONSE_IS_NOT_CONFORM) return `the issuer ${issuer} refused the request: no reason`;
  return `the issuer has sent no ID token that is valid: ${message}`;
}

/** Some issuers refuse unknown scopes, and some send groups only if the scope is requested. */
function scopesOf(supported: string[] | null): string {
  const wanted = supported === null ? ['profile', 'email'] : ['profile', 'email', 'groups'];
  return ['openid', ...wanted.filter((scope) => supported === null || supported.includes(scope))].join(' ');
}

function lacks({ issuer }: IssuerMetadata, what: string): OciError {
  return new OciError('UNAVAILABLE', { message: `the issuer ${issuer} names no ${what}` });
}

function refusal(message: string): OciError {
  return new OciError('UNAUTHORIZED', { message });
}
