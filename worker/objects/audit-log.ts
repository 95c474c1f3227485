/** What the AuditLog object can do. `durable-objects/audit-log.ts` is the class. */
import type { AuditEvent } from '../access/model.ts';

/** Which events are listed: only those with a lower id than `before` and with the given values. */
export interface AuditQuery {
  before: number | null;
  count: number;
  actor?: string | undefined;
  repository?: string | undefined;
  decision?: AuditEvent['decision'] | undefined;
}

export type ListedEvent = AuditEvent & { id: number };

export interface AuditPage {
  entries: ListedEvent[];
  /** `before` of the next page; null at the end. A page may have few entries, or none, and still not be the last. */
  next: number | null;
}

/** There is one for the registry. It keeps the audit log, for a set time and up to a set number of rows. */
export interface AuditLogObject extends Rpc.DurableObjectBranded {
  /** Writes all events, or none. */
  record(events: AuditEvent[]): Promise<void>;
  /** Newest first. A page reads a bounded number of rows. */
  list(query: AuditQuery): AuditPage;
}
