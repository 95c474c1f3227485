/**
 * Tells the isolate that `Accounts` runs in that it revoked something. On one machine that is the only isolate, so a change
 * counts at once; elsewhere isolates ask every few seconds.
 */
let changes = 0;

export function accessChanged(): void {
  changes++;
}

/** How many changes this isolate has heard of. */
export function accessChanges(): number {
  return changes;
}
