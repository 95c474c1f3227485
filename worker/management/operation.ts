/**
 * An operation of the management API, as a row of a table. The routes, the checks of the input and the OpenAPI document are all
 * made from the same rows, so they cannot contradict each other.
 */
import type * as z from 'zod/mini';
import type { Client } from '../access/client.ts';
import type { Access, Identity } from '../access/decide.ts';
import type { Action } from '../access/model.ts';
import type { AuditRecorder } from '../auth/audit-recorder.ts';
import type { Authenticator } from '../auth/credentials/authenticator.ts';
import type { Env } from '../env.ts';
import type { AccountsObject } from '../objects/accounts.ts';
import type { AuditLogObject } from '../objects/audit-log.ts';
import type { Digest } from '../oci/digest.ts';
import type { Promoted, Promotion } from '../oci/promotion.ts';
import type { Registry } from '../oci/registry.ts';
import type { Author } from '../oci/upkeep.ts';
import type { DirectGrants } from '../s3/direct-grants.ts';
import type { MultipartUploads } from '../s3/multipart-uploads.ts';
import type { AuthSettings } from '../settings.ts';
import type { Stub } from '../stubs.ts';

/** The parts of the registry that operations use. */
export interface ManagementServices {
  env: Env;
  settings: AuthSettings;
  authenticator: Authenticator;
  audit: AuditRecorder;
  registry: Registry;
  /** Null where clients cannot store blobs in the bucket themselves. */
  direct: DirectGrants | null;
  /** Null where the multipart uploads of the bucket cannot be listed. */
  multiparts: MultipartUploads | null;
  /** The key for the tokens of a consistency check. */
  checkKey(): Promise<CryptoKey>;
  /** Drops deleted manifests of a repository from what this isolate keeps. */
  forgetManifests(name: string, digests: Digest[]): Promise<void>;
  /** One step of a promotion. */
  promote(promotion: Promotion, by: Author): Promise<Promoted>;
}

/** The authenticated caller of an operation. */
export interface ApiCaller {
  identity: Identity;
  client: Client;
  /** The access to the repository in the path, where the operation requires one. Null for other operations. */
  access: Access | null;
}

export interface OperationInput<Query, Body> {
  request: Request;
  /** The parameter in the path: the name of a user, or an id. Empty for a path without one. */
  named: string;
  query: Query;
  body: Body;
  caller: ApiCaller;
  services: ManagementServices;
  accounts: Stub<AccountsObject>;
  auditLog: Stub<AuditLogObject>;
}

export interface OperationResult {
  /** A value to send as JSON. With `type`, a text. */
  body?: unknown;
  type?: string;
  headers?: Record<string, string>;
  /** What was changed, for the audit log; null for nothing. By default the parameter in the path. */
  changed?: string | null;
}

/**
 * What a caller needs:
 * - `admin`: the role admin on `**`. A token needs it in its own grants.
 * - `credentials`: any valid credentials of a user or a robot.
 * - `password`: the password of a user. Tokens are refused.
 * - `own`: as `password`, or the token of a sign-in, or the token that the path names.
 * - `nothing`: no credentials.
 * - an action on the repository in the path. To a caller who may not pull it, the repository does not exist.
 */
export type Requirement = 'admin' | 'credentials' | 'password' | 'own' | 'nothing' | RepositoryRequirement;

export interface RepositoryRequirement {
  repository: Action;
}

export interface Operation {
  /** Such as `user.create`: the OpenAPI operation id, and the action in the audit log. */
  id: string;
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Below `/api/v1`, in the notation of OpenAPI. */
  path: string;
  requires: Requirement;
  /** Set for a POST that only reads, because its input does not fit into a URL. It is not in the audit log. */
  isRead?: boolean;
  summary: string;
  description?: string;
  query?: z.ZodMiniType;
  body?: z.ZodMiniType;
  example?: unknown;
  status: 200 | 201 | 204;
  /** The schema of a JSON response. */
  answer?: z.ZodMiniType;
  /** Other media types that `Accept` may ask for. */
  types?: string[];
  /** Errors of this operation, besides those that all operations have: status -> meaning. */
  errors?: Record<number, string>;
  run(input: OperationInput<unknown, unknown>): Promise<OperationResult>;
}

/** Gives `run` the types that the schemas of the operation parse to. */
export function operation<
  Query extends z.ZodMiniType = z.ZodMiniType<undefined>,
  Body extends z.ZodMiniType = z.ZodMiniType<undefined>,
>(
  row: Omit<Operation, 'run' | 'query' | 'body'> & {
    query?: Query;
    body?: Body;
    run(input: OperationInput<z.output<Query>, z.output<Body>>): Promise<OperationResult>;
  },
): Operation {
  return row;
}
