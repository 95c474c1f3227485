/**
 * Who may use the management API: users with their password, and named tokens. The tokens that the registry issues for pulls
 * and pushes are none of these, and neither are those of trusted issuers: what was made for one door does not open another.
 */

import { type Client, clientOf } from '../access/client.ts';
import { type Identity, isAdmin } from '../access/decide.ts';
import { type Grant, type Rule, SIGN_IN_TOKEN } from '../access/model.ts';
import { authorizationOf } from '../auth/credentials/authorization.ts';
import type { Shown } from '../auth/credentials/credentials.ts';
import { parseToken } from '../auth/credentials/token-text.ts';
import { isOpen } from '../auth/guard.ts';
import { OciError } from '../oci/errors.ts';
import { originOf } from '../oci/origin.ts';
import { EVERYTHING } from '../oci/pattern.ts';
import { accountsOf } from '../stubs.ts';
import type { Managed, Manager, Operation } from './operation.ts';

const CHALLENGE = { 'WWW-Authenticate': 'Basic realm="longshore", charset="UTF-8"' };

/** Throws UNAUTHORIZED, DENIED, TOOMANYREQUESTS. */
export async function admit(
  request: Request,
  { id, who }: Operation,
  named: string,
  managed: Managed,
): Promise<Manager> {
  const client = clientOf(request, managed.settings);
  if (isOpen(managed.settings, request)) return { identity: anAdmin(), client };
  if (who === 'anybody') return { identity: nobody(), client };
  const shown = shownIn(request);
  const identity = await identify(request, shown, client, managed);
  const why = await whyNot(identity, who, parseToken(shown.password), named, managed);
  if (why === null) return { identity, client };
  managed.audit.denied(callerOf(identity, client, request), id, null, why);
  throw new OciError('DENIED', { message: why });
}

async function whyNot(
  identity: Identity,
  who: Operation['who'],
  token: { id: string } | null,
  named: string,
  { env }: Managed,
): Promise<string | null> {
  const { subject, limits } = identity;
  if (!/^(?:user|token):/.test(subject)) return 'only users and named tokens may use this API';
  if (token !== null && who !== 'user') {
    // Else a token that is narrow or about to end could make one that is neither.
    const stored = await accountsOf(env).getToken(token.id);
    const isOwn = who === 'own' && (named === token.id || stored?.name.startsWith(SIGN_IN_TOKEN) === true);
    const manages =
      who === 'admin' && isAdmin({ ...identity, rules: stored?.grants.map(asRule) ?? [], limits });
    if (!isOwn && !manages) return FOR_REGISTRY;
  }
  if (who === 'admin' && !isAdmin(identity))
    return `${subject} may not do this: it needs the role admin on **`;
  return null;
}

const FOR_REGISTRY =
  'this token is for pulls and pushes: log in with the password of the user, or with a token whose own grants have the role admin on **';

function asRule(grant: Grant): Rule {
  return { ...grant, id: '', subject: 'authenticated' };
}

function shownIn(request: Request): Shown {
  const shown = authorizationOf(request);
  if (shown?.kind === 'basic') return shown;
  if (shown?.kind === 'bearer' && parseToken(shown.token) !== null)
    return { name: '', password: shown.token };
  throw new OciError('UNAUTHORIZED', {
    message: 'log in with user and password, or with a named token (lsr_...)',
    headers: CHALLENGE,
  });
}

async function identify(
  request: Request,
  shown: Shown,
  client: Client,
  { credentials, audit }: Managed,
): Promise<Identity> {
  try {
    return await credentials.identify(shown, client, originOf(request));
  } catch (fault) {
    if (!(fault instanceof OciError) || !/^(?:UNAUTHORIZED|TOOMANYREQUESTS)$/.test(fault.code)) throw fault;
    audit.failed(request, client, fault, shown.name);
    if (fault.code !== 'UNAUTHORIZED') throw fault;
    throw new OciError('UNAUTHORIZED', { message: fault.message, headers: CHALLENGE });
  }
}

/** Whoever reaches a registry without access control, which is on loopback only. */
function anAdmin(): Identity {
  const subject = 'user:admin';
  const rule = { id: 'AUTH=off', subject, role: 'admin', repositories: EVERYTHING, tags: null } as const;
  return { subject, rules: [rule], limits: null, policies: [], revision: 0 };
}

function nobody(): Identity {
  return { subject: 'anonymous', rules: [], limits: null, policies: [], revision: 0 };
}

/** As the audit log knows those who are refused. */
function callerOf({ subject }: Identity, client: Client, request: Request) {
  const claims = { subject, access: [], denials: [], pulls: null, catalog: false, revision: 0, expiresAt: 0 };
  return { claims, client, isLive: true, request };
}
