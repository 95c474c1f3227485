/** The Accounts object and the audit log, as the management API uses them. */

import type { Env } from '../env.ts';
import type { AccountsObject } from '../objects/accounts.ts';
import type { AuditLogObject } from '../objects/audit-log.ts';
import { accountsOf, auditLogOf, type Stub } from '../stubs.ts';

export type Directory = Stub<AccountsObject>;
export type AuditTrail = Stub<AuditLogObject>;

export function directoryOf(env: Env): Directory {
  return accountsOf(env);
}

export function auditTrailOf(env: Env): AuditTrail {
  return auditLogOf(env);
}
