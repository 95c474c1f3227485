/**
 * Refuses uploads that alone exceed what a quota leaves, before their bytes. An ordinary push costs no call more: the repository says how much
 * room its quotas leave when a client asks for a blob, which clients do before they push it. The isolate remembers that, and asks the
 * repository again only where an upload does not fit. What it does not catch, the manifest's PUT refuses.
 */
import type { Env } from '../env.ts';
import { CountedCache, memory } from '../memory/budget.ts';
import type { Digest } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import { repositoryOf } from '../stubs.ts';

/** Repository -> what its quotas leave, in bytes. */
const rooms = new CountedCache<number>(memory, { entries: 1000, bytes: 1024 * 1024 });
const ENTRY_BYTES = 300;

/** A repository has said what its quotas leave; null if it has none. */
export function heardOfRoom(repository: string, room: number | null | undefined): void {
  if (room === null || room === undefined) rooms.delete(repository);
  else rooms.set(repository, room, ENTRY_BYTES);
}

/** Throws DENIED if a quota leaves no room for an upload of this size (bytes). */
export async function checkRoom(
  env: Env,
  repository: string,
  digest: Digest | null,
  size: number | null,
): Promise<void> {
  const room = rooms.get(repository);
  if (room === undefined || size === null || size <= room) return;
  const refused = await repositoryOf(env, repository).refusesBlob(digest, size);
  if (refused !== null) throw new OciError('DENIED', { message: refused });
}
