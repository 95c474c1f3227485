/**
 * Authenticates a caller of the management API, by the password of a user or by a named token. Access tokens for pulls and pushes,
 * and tokens of trusted issuers, are not accepted here.
 */

import { type Client, clientOf } from '../access/client.ts';
import { checkClient } from '../access/conditions.ts';
import { type Access, type Identity, isAdmin } from '../access/decide.ts';
import { type Grant, type Rule, SIGN_IN_TOKEN } from '../access/model.ts';
import type { BasicCredentials } from '../auth/credentials/authenticator.ts';
import { authorizationOf } from '../auth/credentials/authorization.ts';
import { parseToken } from '../auth/credentials/token-text.ts';
import { isOpen } from '../auth/guard.ts';
import { claimsFor } from '../auth/tokens/claims.ts';
import { OciError } from '../oci/errors.ts';
import { originOf } from '../oci/origin.ts';
import { EVERYTHING } from '../oci/pattern.ts';
import { parseRepositoryName } from '../oci/reference.ts';
import { accountsOf } from '../stubs.ts';
import type {
  ApiCaller,
  ManagementServices,
  Operation,
  RepositoryRequirement,
  Requirement,
} from './operation.ts';

const CHALLENGE = { 'WWW-Authenticate': 'Basic realm="longshore", charset="UTF-8"' };

/**
 * The caller of an operation, who may run it. `named` is the parameter in the path.
 *
 * Throws UNAUTHORIZED without credentials, and for wrong ones.
 * Throws DENIED for a caller who may not run the operation.
 * Throws NOT_FOUND for a repository that the caller may not pull.
 * Throws TOOMANYREQUESTS after too many failed logins.
 */
export async function authenticate(
  request: Request,
  { id, requires }: Operation,
  named: string,
  services: ManagementServices,
): Promise<ApiCaller> {
  const client = clientOf(request, services.settings);
  if (isOpen(services.settings, request)) {
    const access = typeof requires === 'string' ? null : await accessTo(named, openAdmin(), client, services);
    return { identity: openAdmin(), client, access };
  }
  if (requires === 'nothing') return { identity: anonymous(), client, access: null };
  const credentials = credentialsIn(request);
  const identity = await identify(request, credentials, client, services);
  if (typeof requires !== 'string') {
    if (!isAccount(identity)) throw new OciError('DENIED', { message: ONLY_ACCOUNTS });
    const access = await accessTo(named, identity, client, services);
    if (access.actions.includes(requires.repository)) return { identity, client, access };
    const why = `${identity.subject} may not do this: it needs ${requires.repository} on ${named}`;
    services.audit.denied(asCaller(identity, client, request), id, named, why);
    throw new OciError('DENIED', { message: why });
  }
  const why = await whyNot(identity, requires, parseToken(credentials.password), named, services);
  if (why === null) return { identity, client, access: null };
  services.audit.denied(asCaller(identity, client, request), id, null, why);
  throw new OciError('DENIED', { message: why });
}

/**
 * What a caller may do with a repository.
 *
 * Throws NAME_INVALID.
 * Throws NOT_FOUND for a caller who may not pull it, as if it did not exist.
 */
export async function accessTo(
  named: string,
  identity: Identity,
  client: Client,
  { registry }: ManagementServices,
): Promise<Access> {
  const name = parseRepositoryName(named);
  const scope = { type: 'repository', name, actions: ['*'] };
  const { access } = await claimsFor(identity, [scope], registry);
  const [found] = access;
  if (found?.actions.includes('pull') && isAllowed(found, client)) return found;
  throw new OciError('NOT_FOUND', { message: `there is no repository ${name}` });
}

function isAllowed(access: Access, client: Client): boolean {
  try {
    checkClient(access, client);
    return true;
  } catch {
    return false;
  }
}

/** Why the caller may not run an operation; null where they may. */
async function whyNot(
  identity: Identity,
  requires: Exclude<Requirement, RepositoryRequirement>,
  token: { id: string } | null,
  named: string,
  { env }: ManagementServices,
): Promise<string | null> {
  const { subject, limits } = identity;
  if (!isAccount(identity)) return ONLY_ACCOUNTS;
  if (token !== null && requires !== 'credentials') {
    // Otherwise a token with few rights, or one that ends soon, could make a token with more.
    const stored = await accountsOf(env).getToken(token.id);
    const isSignIn = stored?.name.startsWith(SIGN_IN_TOKEN) === true;
    const isOwn = requires === 'own' && (named === token.id || isSignIn);
    const grants = stored?.grants.map(asRule) ?? [];
    const manages = requires === 'admin' && isAdmin({ ...identity, rules: grants, limits });
    if (!isOwn && !manages) return ONLY_FOR_IMAGES;
  }
  if (requires === 'admin' && !isAdmin(identity))
    return `${subject} may not do this: it needs the role admin on **`;
  return null;
}

const ONLY_ACCOUNTS = 'only users and named tokens may use this API';

function isAccount({ subject }: Identity): boolean {
  return /^(?:user|token):/.test(subject);
}

const ONLY_FOR_IMAGES =
  'this token is for pulls and pushes: log in with the password of the user, or with a token whose own grants have the role admin on **';

function asRule(grant: Grant): Rule {
  return { ...grant, id: '', subject: 'authenticated' };
}

function credentialsIn(request: Request): BasicCredentials {
  const found = authorizationOf(request);
  if (found?.kind === 'basic') return found;
  if (found?.kind === 'bearer' && parseToken(found.token) !== null)
    return { name: '', password: found.token };
  throw new OciError('UNAUTHORIZED', {
    message: 'log in with user and password, or with a named token (lsr_...)',
    headers: CHALLENGE,
  });
}

async function identify(
  request: Request,
  credentials: BasicCredentials,
  client: Client,
  { authenticator, audit }: ManagementServices,
): Promise<Identity> {
  try {
    return await authenticator.identify(credentials, client, originOf(request));
  } catch (error) {
    if (!(error instanceof OciError) || !/^(?:UNAUTHORIZED|TOOMANYREQUESTS)$/.test(error.code)) throw error;
    audit.loginFailed(request, client, error, credentials.name);
    if (error.code !== 'UNAUTHORIZED') throw error;
    throw new OciError('UNAUTHORIZED', { message: error.message, headers: CHALLENGE });
  }
}

/** The identity of all callers where access control is off, which is possible on loopback only. */
function openAdmin(): Identity {
  const subject = 'user:admin';
  const rule = { id: 'AUTH=off', subject, role: 'admin', repositories: EVERYTHING, tags: null } as const;
  return { subject, rules: [rule], limits: null, policies: [], revision: 0 };
}

function anonymous(): Identity {
  return { subject: 'anonymous', rules: [], limits: null, policies: [], revision: 0 };
}

/** A refused caller in the form that the audit log takes. */
function asCaller({ subject }: Identity, client: Client, request: Request) {
  const claims = { subject, access: [], denials: [], pulls: null, catalog: false, revision: 0, expiresAt: 0 };
  return { claims, client, isLive: true, request };
}
