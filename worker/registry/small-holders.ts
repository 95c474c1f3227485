/**
 * Which repositories hold a small blob on one machine, so that a mount without a source finds it. There is no table for this, because
 * a row would cost each push another commit. It is only a hint: the repository itself is asked, and after a restart clients push
 * small blobs again.
 */

import { CountedCache, memory } from '../memory/budget.ts';
import type { Digest } from '../oci/digest.ts';

/** Repositories of one digest that are remembered: the latest ones. */
const HOLDERS_MAX = 10;
const ENTRY_BYTES = 300;

const holders = new CountedCache<string[]>(memory, { entries: 10_000, bytes: 4 * 1024 * 1024 });

export function rememberHolder(digest: Digest, repository: string): void {
  const others = smallHoldersOf(digest).filter((name) => name !== repository);
  const names = [repository, ...others].slice(0, HOLDERS_MAX);
  holders.set(digest, names, ENTRY_BYTES + names.reduce((sum, name) => sum + 2 * name.length, 0));
}

/** Names of repositories, the latest first. */
export function smallHoldersOf(digest: Digest): string[] {
  return holders.get(digest) ?? [];
}
