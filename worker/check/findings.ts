/**
 * Looks again at what a caller of the check has found, because pushes run meanwhile, and repairs it. A finding counts only if the objects
 * say so now. Each repair is safe also where the finding is wrong.
 */
import type { Env } from '../env.ts';
import type { LinkOfRepository } from '../objects/check.ts';
import type { Digest } from '../oci/digest.ts';
import { repositoryOf, shardOf } from '../stubs.ts';

export type Finding =
  /** A repository has a blob whose link the shard does not know, so its bytes may be deleted. */
  | ({ kind: 'unlinked'; size: number } & LinkOfRepository)
  /** The store lacks content, or some of it. */
  | { kind: 'lost'; digest: Digest; key: string; size: number }
  /** A link keeps content that its repository does not have. */
  | ({ kind: 'stale' } & LinkOfRepository)
  /** Content without a link, which would stay for ever. */
  | { kind: 'left'; digest: Digest; key: string }
  /** A manifest names a blob that is not in the repository. */
  | { kind: 'missing'; repository: string; manifest: Digest; digest: Digest };

/** The most calls that one finding needs. */
export const FINDING_CALLS = 5;

export interface Examined {
  /** `repaired`: nothing is wrong any more. `lost`: what is left says so, and a push brings it back. `gone`: it was right, or is now. */
  state: 'found' | 'repaired' | 'lost' | 'gone';
  /** What was done, or is to be done. */
  advice: string;
}

const GONE: Examined = { state: 'gone', advice: 'It was under way, and is right now.' };
const PUSH_AGAIN = 'Push the image again, or delete it.';

export function examine(env: Env, finding: Finding, repair: boolean): Promise<Examined> {
  switch (finding.kind) {
    case 'unlinked':
      return examineUnlinked(env, finding, repair);
    case 'lost':
      return examineLost(env, finding, repair);
    case 'stale':
      return examineStale(env, finding, repair);
    case 'left':
      return examineLeft(env, finding, repair);
    case 'missing':
      return examineMissing(env, finding);
  }
}

async function examineUnlinked(
  env: Env,
  { digest, key, repository, link, size }: Finding & { kind: 'unlinked' },
  repair: boolean,
): Promise<Examined> {
  const [shard, state] = [shardOf(env, digest), repositoryOf(env, repository)];
  const holds = () => state.hasLink({ digest, key, link });
  // The shard writes a link first and removes it last. So if the repository has it before and after, the shard has lost it.
  if (!(await holds()) || (await shard.knowsLink({ digest, key, repository, link })) || !(await holds()))
    return GONE;
  if (!repair) return { state: 'found', advice: 'Repairing makes the link again, if the bytes are there.' };
  if (await shard.relink({ digest, key, repository, link }, size))
    return { state: 'repaired', advice: 'The link was made again.' };
  await state.dropLostBlob(digest, key);
  return {
    state: 'lost',
    advice: `Its bytes are not in the store, so the repository has dropped it. ${PUSH_AGAIN}`,
  };
}

async function examineLost(
  env: Env,
  content: Finding & { kind: 'lost' },
  repair: boolean,
): Promise<Examined> {
  const shard = shardOf(env, content.digest);
  if (!(await shard.isLost(content))) return GONE;
  if (!repair)
    return { state: 'found', advice: `Repairing drops it, so that clients push it again. ${PUSH_AGAIN}` };
  await shard.dropIfLost(content);
  return { state: 'lost', advice: `It was dropped from all repositories. ${PUSH_AGAIN}` };
}

async function examineStale(
  env: Env,
  { kind: _, ...found }: Finding & { kind: 'stale' },
  repair: boolean,
): Promise<Examined> {
  const shard = shardOf(env, found.digest);
  const isHeld = () => shard.isSettled(found);
  // A link that its repository removes is first unknown there, and then in the shard.
  if (
    !(await isHeld()) ||
    (await repositoryOf(env, found.repository).hasOrReleases(found)) ||
    !(await isHeld())
  )
    return GONE;
  if (!repair) return { state: 'found', advice: 'Repairing removes the link.' };
  await shard.settleAgain(found);
  return { state: 'repaired', advice: 'The link is removed. Content without a link is deleted later.' };
}

async function examineLeft(
  env: Env,
  { digest, key }: Finding & { kind: 'left' },
  repair: boolean,
): Promise<Examined> {
  if (!(await shardOf(env, digest).isLeft(digest, key, repair))) return GONE;
  if (!repair) return { state: 'found', advice: 'Repairing deletes it after the grace.' };
  return { state: 'repaired', advice: 'It is deleted after the grace.' };
}

async function examineMissing(
  env: Env,
  { repository, manifest, digest }: Finding & { kind: 'missing' },
): Promise<Examined> {
  const isMissing = await repositoryOf(env, repository).isMissing(manifest, digest);
  return isMissing ? { state: 'found', advice: PUSH_AGAIN } : GONE;
}
