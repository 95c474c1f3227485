/** Whether a tag may move or be deleted. All policies of kind `tags` that match a repository apply together. */
import { matches, type Pattern } from '../oci/pattern.ts';
import { isTagsPolicy, type LifecyclePolicy, type TagsPolicy } from './policy.ts';
import { parseVersion } from './semver.ts';

/** Why a tag does not move: the policy, and what of it covers the tag. */
export interface Frozen {
  kind: 'immutable' | 'protected';
  /** Id of the policy. */
  policy: string;
  /** The pattern that matches, or `semver`. */
  by: string;
}

/** A change of a tag that exists. To push the digest that it has changes nothing. */
export type TagChange = 'moved' | 'deleted';

/** The first policy that makes a tag immutable; null if none does. */
export function immutableBy(policies: LifecyclePolicy[], tag: string): Frozen | null {
  for (const policy of covering(policies, tag)) {
    const by = matching(policy.immutable, tag) ?? (policy.semver && parseVersion(tag) ? 'semver' : null);
    if (by !== null) return { kind: 'immutable', policy: policy.id, by };
  }
  return null;
}

/**
 * Why a tag that exists may not be changed; null where it may. `maintains`: the caller may delete in this repository. No role
 * changes an immutable tag.
 */
export function frozenBy(policies: LifecyclePolicy[], tag: string, maintains: boolean): Frozen | null {
  const immutable = immutableBy(policies, tag);
  if (immutable !== null || maintains) return immutable;
  for (const policy of covering(policies, tag)) {
    const by = matching(policy.protected, tag);
    if (by !== null) return { kind: 'protected', policy: policy.id, by };
  }
  return null;
}

/** The refusal for a client: what happened, why, what to do. */
export function refusalText(tag: string, { kind, policy, by }: Frozen, change: TagChange): string {
  const what = `the tag ${tag} was not ${change}: it is ${kind} (${by}, lifecycle policy ${policy})`;
  if (kind === 'protected') return `${what}. Only a maintainer may do that. Ask one, or push another tag`;
  return change === 'moved'
    ? `${what} and has another digest. Push another tag, or ask an admin to change the policy`
    : `${what}. Ask an admin to change the policy`;
}

function covering(policies: LifecyclePolicy[], tag: string): TagsPolicy[] {
  return policies.filter(isTagsPolicy).filter(({ except }) => matching(except, tag) === null);
}

function matching(patterns: Pattern[], tag: string): Pattern | null {
  return patterns.find((pattern) => matches(pattern, tag)) ?? null;
}
