/**
 * An operation of the management API, as a row of a table: the router, the checks of what comes in, and the OpenAPI document
 * are all made of the same rows, so that none of them can say something else than the others.
 */
import type * as z from 'zod/mini';
import type { Client } from '../access/client.ts';
import type { Identity } from '../access/decide.ts';
import type { Audit } from '../auth/audit.ts';
import type { Credentials } from '../auth/credentials/credentials.ts';
import type { Env } from '../env.ts';
import type { AccountsObject } from '../objects/accounts.ts';
import type { AuditLogObject } from '../objects/audit-log.ts';
import type { Registry } from '../oci/registry.ts';
import type { AuthSettings } from '../settings.ts';
import type { Stub } from '../stubs.ts';

/** What the operations work on. */
export interface Managed {
  env: Env;
  settings: AuthSettings;
  credentials: Credentials;
  audit: Audit;
  registry: Registry;
}

/** Who asks. */
export interface Manager {
  identity: Identity;
  client: Client;
}

export interface Asked<Query, Body> {
  request: Request;
  /** What the path names: a user, or an id. Empty where it names nothing. */
  named: string;
  query: Query;
  body: Body;
  manager: Manager;
  managed: Managed;
  accounts: Stub<AccountsObject>;
  auditLog: Stub<AuditLogObject>;
}

export interface Answer {
  /** JSON; or a text, where `type` says which. */
  body?: unknown;
  type?: string;
  headers?: Record<string, string>;
  /** What was changed, for the audit log; else what the path names. */
  changed?: string;
}

/**
 * `admin` needs the role admin on `**`, `user` only credentials, `password` a user's own, and `anybody` none at all. Tokens are for
 * pulls and pushes: they open `user`, and `admin` where their own grants have the role admin on `**`. `own` is `password`, and
 * also for the token of a sign-in, and for the token that the path names.
 */
type Who = 'admin' | 'user' | 'password' | 'own' | 'anybody';

export interface Operation {
  /** `user.create`; this is what the audit log says was done. */
  id: string;
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Below `/api/v1`, as OpenAPI writes it. */
  path: string;
  who: Who;
  summary: string;
  description?: string;
  query?: z.ZodMiniType;
  body?: z.ZodMiniType;
  example?: unknown;
  status: 200 | 201 | 204;
  /** What a JSON answer looks like. */
  answer?: z.ZodMiniType;
  /** Other media types that `Accept` may ask for. */
  types?: string[];
  /** Refusals beside those that any operation has: status -> what it means here. */
  refusals?: Record<number, string>;
  run(asked: Asked<unknown, unknown>): Promise<Answer>;
}

/** Ties the schemas of an operation to what its `run` is given. */
export function operation<
  Query extends z.ZodMiniType = z.ZodMiniType<undefined>,
  Body extends z.ZodMiniType = z.ZodMiniType<undefined>,
>(
  row: Omit<Operation, 'run' | 'query' | 'body'> & {
    query?: Query;
    body?: Body;
    run(asked: Asked<z.output<Query>, z.output<Body>>): Promise<Answer>;
  },
): Operation {
  return row as unknown as Operation;
}
