/**
 * `GET` and `POST /token`: exchanges credentials for a token with those of the requested scopes that the rules allow. Docker
 * token specification, "Requesting a Token" and "OAuth2 Token Authentication". There are no refresh tokens.
 */

import { clientOf } from '../../access/client.ts';
import { formatScope, parseScopes } from '../../access/scope.ts';
import { OciError } from '../../oci/errors.ts';
import { originOf } from '../../oci/origin.ts';
import { readAtMost } from '../../oci/read-body.ts';
import type { Registry } from '../../oci/registry.ts';
import type { AuthSettings } from '../../settings.ts';
import type { AuditRecorder } from '../audit-recorder.ts';
import type { Authenticator, BasicCredentials } from '../credentials/authenticator.ts';
import { authorizationOf } from '../credentials/authorization.ts';
import { checkRate } from '../guard.ts';
import type { Trusts } from '../openid/trusts.ts';
import type { RequestLimit } from '../request-limit.ts';
import type { AccessTokens } from './access-tokens.ts';
import { claimsFor } from './claims.ts';

/** The form of a token request: the token of an issuer is the longest thing in it. */
const TOKEN_FORM_MAX_BYTES = 64 * 1024;

export interface TokenParts {
  registry: Registry;
  settings: AuthSettings;
  tokens: AccessTokens;
  authenticator: Authenticator;
  trusts: Trusts;
  audit: AuditRecorder;
  limit: RequestLimit | undefined;
}

/** RFC 8693, section 2.1. */
const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';

interface TokenRequest {
  credentials: BasicCredentials | null;
  scopes: string[];
  /** A token of a trusted issuer, to exchange for a login token. */
  assertion: string | null;
}

/** Throws UNAUTHORIZED, TOOMANYREQUESTS, UNSUPPORTED. */
export async function tokenEndpoint(request: Request, parts: TokenParts): Promise<Response> {
  const asked = await read(request);
  const origin = originOf(request);
  const client = clientOf(request, parts.settings);
  const { authenticator, audit } = parts;
  try {
    await checkRate(parts.limit, client.address);
    if (asked.assertion !== null) {
      const login = await authenticator.exchange(asked.assertion);
      const { token, lifetime } = await parts.tokens.issueLogin(login, origin);
      audit.tokenIssued(request, client, login.subject, `exchanged by trust ${login.trust}`);
      return answer({
        access_token: token,
        issued_token_type: 'urn:ietf:params:oauth:token-type:jwt',
        token_type: 'N_A',
        expires_in: lifetime,
      });
    }
    const identity =
      asked.credentials === null
        ? await authenticator.anonymous()
        : await authenticator.identify(asked.credentials, client, origin);
    const scopes = parseScopes(asked.scopes);
    const claims = await claimsFor(identity, scopes, parts.registry);
    const { token, lifetime, issuedAt } = await parts.tokens.issue(claims, origin);
    // Anonymous tokens are not recorded, because any client may request any number. Pulls with them are.
    if (asked.credentials !== null) {
      audit.tokenIssued(request, client, identity.subject, claims.access.map(formatScope).join(' '));
    }
    return answer({
      token,
      access_token: token,
      token_type: 'Bearer',
      expires_in: lifetime,
      issued_at: new Date(issuedAt * 1000).toISOString(),
      scope: claims.access.map(formatScope).join(' '),
    });
  } catch (error) {
    if (error instanceof OciError && /^(?:UNAUTHORIZED|TOOMANYREQUESTS)$/.test(error.code)) {
      const action = asked.assertion === null ? 'login' : 'exchange';
      audit.loginFailed(request, client, error, asked.credentials?.name ?? null, action);
    }
    throw error;
  }
}

async function read(request: Request): Promise<TokenRequest> {
  if (request.method === 'GET') return readQuery(request);
  if (request.method === 'POST') return readForm(request);
  throw new OciError('UNSUPPORTED', {
    message: 'request tokens with GET or POST',
    headers: { Allow: 'GET, POST' },
  });
}

function readQuery(request: Request): TokenRequest {
  const query = new URL(request.url).searchParams;
  return { credentials: credentialsIn(request), scopes: query.getAll('scope'), assertion: null };
}

async function readForm(request: Request): Promise<TokenRequest> {
  // A form that is too long counts as an empty one.
  const bytes = await readAtMost(request.body, TOKEN_FORM_MAX_BYTES);
  const form = new URLSearchParams(new TextDecoder().decode(bytes ?? undefined));
  const scopes = form.getAll('scope');
  const grant = form.get('grant_type');
  if (grant === 'password') {
    const credentials = { name: form.get('username') ?? '', password: form.get('password') ?? '' };
    return { credentials, scopes, assertion: null };
  }
  if (grant === EXCHANGE) return { credentials: null, scopes, assertion: form.get('subject_token') ?? '' };
  throw new OciError('UNSUPPORTED', {
    message: `grant_type is password or ${EXCHANGE}: there are no refresh tokens`,
    status: 400,
  });
}

/** An unreadable Authorization header counts as wrong credentials, and not as a request without any. */
function credentialsIn(request: Request): BasicCredentials | null {
  if (!request.headers.has('Authorization')) return null;
  const credentials = authorizationOf(request);
  return credentials?.kind === 'basic' ? credentials : { name: '', password: '' };
}

/** No cache may store a token (RFC 6749, section 5.1). */
function answer(body: Record<string, unknown>): Response {
  return Response.json(body, { headers: { 'Cache-Control': 'no-store' } });
}
