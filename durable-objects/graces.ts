/**
 * How long the objects keep what may still be needed. Collection depends on these times together: docs/architecture.md,
 * "Collection". `UPLOAD_LIFETIME_MS` in worker/oci/limits.ts is one of them.
 */
import type { Env } from '../worker/env.ts';
import { DELETING_MAX, parseSettingOr } from '../worker/settings.ts';

const HOUR_MS = 3600 * 1000;
const DAY_MS = 24 * HOUR_MS;

/** The grace, unless GRACE_HOURS says otherwise. */
export const GRACE_MS = 1 * DAY_MS;
/** After this time, a link is confirmed with its repository. A push that failed in between leaves no link there. */
export const LINK_CONFIRM_MS = 2 * DAY_MS;
/** Refused link ids are remembered this long. */
export const VOID_LINK_MS = 30 * DAY_MS;
/** After an upload has expired, its bytes are kept this long, so that no request is still writing when they are discarded. */
export const UPLOAD_ABORT_DELAY_MS = 1 * HOUR_MS;
/** Abandoned uploads are counted this long. */
export const ABANDONED_UPLOAD_KEPT_MS = 7 * DAY_MS;
/** After an upload has ended, it is remembered this long, so that a repeated final PUT gets the same answer. */
export const ENDED_UPLOAD_KEPT_MS = 1 * HOUR_MS;
/** An image that is reported as running counts as running this long: three days after the last report, which may not have been written. */
export const REPORT_KEPT_MS = 3 * DAY_MS + 6 * HOUR_MS;
/** A report that is repeated within this time writes nothing. */
export const REPORT_RENEWED_MS = 6 * HOUR_MS;

const GRACE_DEFAULT_HOURS = 24;
const RETENTION_DELAY_DEFAULT_HOURS = 24;

type Texts = Pick<Env, 'GRACE_HOURS' | 'UNDO_DAYS' | 'RETENTION_DELAY_HOURS'>;

/**
 * A blob without a manifest keeps its link this long, so that a push can finish. Content without a link is then deleted after the same
 * time again. A new link before then keeps it.
 */
export function graceMs({ GRACE_HOURS }: Texts): number {
  return (
    (parseSettingOr('GRACE_HOURS', GRACE_HOURS, DELETING_MAX.graceHours) / GRACE_DEFAULT_HOURS) * GRACE_MS
  );
}

/** As LINK_CONFIRM_MS, and longer than the grace. */
export function linkConfirmMs(texts: Texts): number {
  return Math.max(LINK_CONFIRM_MS, 2 * graceMs(texts));
}

/** How long a deletion can be undone, and how long the history of tags is kept. */
export function undoMs({ UNDO_DAYS }: Texts): number {
  return parseSettingOr('UNDO_DAYS', UNDO_DAYS, DELETING_MAX.undoDays) * DAY_MS;
}

/** How long a plan of the retention policies waits before it is applied. */
export function retentionDelayMs({ RETENTION_DELAY_HOURS }: Texts): number {
  return (
    parseSettingOr('RETENTION_DELAY_HOURS', RETENTION_DELAY_HOURS, RETENTION_DELAY_DEFAULT_HOURS) * HOUR_MS
  );
}
