/**
 * How long the objects keep what may still be needed. Collection depends on these times together: docs/architecture.md,
 * "Collection". `UPLOAD_LIFETIME_MS` in worker/oci/limits.ts is one of them.
 */
const HOUR_MS = 3600 * 1000;
const DAY_MS = 24 * HOUR_MS;

/** A blob without a manifest keeps its link this long, so that a push can finish. */
export const UNREFERENCED_GRACE_MS = 1 * DAY_MS;
/** Content without a link is deleted after this time. A new link before then keeps it. */
export const UNLINKED_GRACE_MS = 1 * DAY_MS;
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
