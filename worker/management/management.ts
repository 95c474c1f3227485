/**
 * The management API at `/api/v1`: the table of its operations, and the steps of each request: authenticate the caller,
 * parse the input, run the operation, write the audit log, send the response.
 */
import { Hono } from 'hono';
import { OciError } from '../oci/errors.ts';
import { originOf } from '../oci/origin.ts';
import { escapedJson } from '../oci/printable.ts';
import { accountsOf, auditLogOf } from '../stubs.ts';
import { ABANDONED_UPLOADS } from './abandoned-uploads.ts';
import { AUDIT } from './audit.ts';
import { authenticate } from './authenticate.ts';
import { CHECK } from './check.ts';
import { DELETIONS } from './deletions.ts';
import { DIRECT_UPLOADS } from './direct-uploads.ts';
import { EXPLAIN } from './explain.ts';
import { HISTORY } from './history.ts';
import { jsonOf, parsed } from './input.ts';
import { KEYS } from './keys.ts';
import { LIFECYCLE } from './lifecycle.ts';
import { ME } from './me.ts';
import { document } from './openapi.ts';
import { type ManagementServices, type Operation, type OperationResult, operation } from './operation.ts';
import { PLANS } from './plans.ts';
import { POLICIES } from './policies.ts';
import { PROMOTIONS } from './promote.ts';
import { PULL_SECRETS } from './pull-secrets.ts';
import { RETENTION } from './retention.ts';
import { RULES } from './rules.ts';
import { RUNNING } from './running.ts';
import { TOKENS } from './tokens.ts';
import { TRUSTS } from './trusts.ts';
import { USAGE } from './usage.ts';
import { USERS } from './users.ts';

const BASE = '/api/v1';

const DOCUMENT = operation({
  id: 'openapi.get',
  method: 'GET',
  path: '/openapi.json',
  requires: 'nothing',
  summary: 'This document (OpenAPI 3.1)',
  status: 200,
  run: async ({ request }) => ({ body: document(OPERATIONS, `${originOf(request)}${BASE}`) }),
});

export const OPERATIONS: Operation[] = [
  ...ME,
  ...USERS,
  ...TOKENS,
  ...PULL_SECRETS,
  ...RULES,
  ...POLICIES,
  ...TRUSTS,
  ...LIFECYCLE,
  ...RETENTION,
  ...RUNNING,
  ...DELETIONS,
  ...HISTORY,
  ...USAGE,
  ...PLANS,
  ...PROMOTIONS,
  ...KEYS,
  ...AUDIT,
  ...EXPLAIN,
  ...ABANDONED_UPLOADS,
  ...CHECK,
  ...DIRECT_UPLOADS,
  DOCUMENT,
];

/** The routes below `/api/v1`. Their handlers throw `OciError`. */
export function managementRoutes(services: () => ManagementServices): Hono {
  const routes = new Hono();
  for (const row of OPERATIONS) {
    routes.on(row.method, row.path.replace(/\{(\w+)\}/, ':named'), async (c) => {
      const response = await perform(row, c.req.raw, c.req.param('named') ?? '', services());
      // An answer may contain a secret.
      response.headers.set('Cache-Control', 'no-store');
      return response;
    });
  }
  routes.all('/*', (c) => {
    throw notHere(new URL(c.req.url).pathname.slice(BASE.length));
  });
  return routes;
}

async function perform(
  row: Operation,
  request: Request,
  named: string,
  services: ManagementServices,
): Promise<Response> {
  const caller = await authenticate(request, row, named, services);
  const query = row.query && parsed(row.query, Object.fromEntries(new URL(request.url).searchParams));
  const body = row.body && parsed(row.body, await jsonOf(request));
  const accounts = accountsOf(services.env);
  const auditLog = auditLogOf(services.env);
  const answer = await row.run({ request, named, query, body, caller, services, accounts, auditLog });
  const { changed = named } = answer;
  if (row.method !== 'GET' && !row.isRead && changed !== null) {
    const { client, identity, access } = caller;
    const where = access === null ? null : { repository: access.name, rule: access.rule };
    services.audit.changed(request, client, identity.subject, row.id, changed, where);
  }
  return responseOf(answer, row.status);
}

function responseOf({ body, type, headers = {} }: OperationResult, status: number): Response {
  if (body === undefined) return new Response(null, { status, headers });
  const text = type === undefined ? escapedJson(body) : String(body);
  return new Response(text, { status, headers: { ...headers, 'Content-Type': type ?? 'application/json' } });
}

function notHere(path: string): OciError {
  const here = OPERATIONS.filter((row) => new RegExp(`^${row.path.replace(/\{\w+\}/, '[^/]+')}$`).test(path));
  if (here.length === 0) {
    return new OciError('NOT_FOUND', {
      message: `there is nothing at this path: see ${BASE}/openapi.json`,
    });
  }
  const methods = here.map(({ method }) => method).join(', ');
  return new OciError('UNSUPPORTED', { message: `this path takes ${methods}`, headers: { Allow: methods } });
}
