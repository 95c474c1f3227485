/**
 * Counts the revocations that this isolate has made. On one machine, `Accounts` runs in the only isolate, so a
 * revocation takes effect immediately. On Cloudflare, other isolates ask `Accounts` every few seconds.
 */
let changes = 0;

export function accessChanged(): void {
  changes++;
}

/** The number of revocations so far in this isolate. */
export function accessChanges(): number {
  return changes;
}
