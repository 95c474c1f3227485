/** The limits of the audit log. */

/** The time between two passes that delete expired rows. */
export const AUDIT_SWEEP_MS = 3600 * 1000;
/** One row: its events, and the characters of their JSON. Production refuses rows over 2 MB. */
export const AUDIT_ROW_EVENTS_MAX = 1000;
export const AUDIT_ROW_MAX_LENGTH = 256 * 1024;
/** Rows that hold only refusals, in one minute, from all isolates together. */
export const AUDIT_REFUSAL_ROWS_A_MINUTE = 60;
/** Beyond this the log deletes its oldest rows. A Durable Object holds 10 GB. */
export const AUDIT_MAX_BYTES = 8 * 1024 * 1024 * 1024;
/** What one page of the log reads, in rows and in characters. */
export const AUDIT_SCAN_ROWS_MAX = 1000;
export const AUDIT_SCAN_MAX_LENGTH = 8 * 1024 * 1024;
