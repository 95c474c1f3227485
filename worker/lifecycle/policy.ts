/**
 * Lifecycle policies: how long tags are kept (`retention`), which tags may move (`tags`), and how much a repository may hold
 * (`quota`). The Catalog stores them. Each repository keeps those that match its name.
 */
import { matches, type Pattern } from '../oci/pattern.ts';

/** One condition of a retention policy. A tag is kept if one of its rules keeps it. Times are days. */
export type KeepRule =
  /** The images of which a tag was pushed last. */
  | { lastPushed: number }
  /** The images that were pulled last. */
  | { lastPulled: number }
  /** The newest versions of each minor version: of 1.4.0, 1.4.1 and 1.4.2 the last one or more. */
  | { newestOfEachMinor: number }
  | { youngerThan: number }
  | { pulledWithin: number }
  | { matches: Pattern }
  /** A cluster or a host has reported that it runs the image. */
  | { running: true }
  /** There is a signature of the image. */
  | { signed: true };

/** Tags that no rule keeps expire when they were pushed `after` days ago. */
export interface RetentionPolicy {
  kind: 'retention';
  id: string;
  repositories: Pattern;
  /** The tags that the policy covers; null for all. */
  tags: Pattern | null;
  keep: KeepRule[];
  /** In days. */
  after: number;
  /** Untagged manifests are deleted this many days after they lost their last tag. Null to keep them. */
  untaggedAfter: number | null;
  /** Immutable tags expire too. */
  deletesImmutable: boolean;
}

/** Which tags may move. */
export interface TagsPolicy {
  kind: 'tags';
  id: string;
  repositories: Pattern;
  /** These tags neither move nor are deleted. */
  immutable: Pattern[];
  /** Only maintainers move or delete these tags. */
  protected: Pattern[];
  /** Full versions such as 1.4.2 are immutable. 1.4 and latest move. */
  semver: boolean;
  /** Tags that the policy does not cover. */
  except: Pattern[];
}

/** How much each repository that it matches may hold. */
export interface QuotaPolicy {
  kind: 'quota';
  id: string;
  repositories: Pattern;
  /** The blobs that manifests name, each once. Null for no limit. */
  bytes: number | null;
  /** Null for no limit. */
  tags: number | null;
  /** A push over the limit is refused. Otherwise it is only an event. */
  hard: boolean;
}

export type LifecyclePolicy = RetentionPolicy | TagsPolicy | QuotaPolicy;

/** The policies of one repository, as of a revision of all policies. */
export interface EffectivePolicies {
  revision: number;
  policies: LifecyclePolicy[];
}

export const DAY_MS = 24 * 3600 * 1000;

/** The policies that match a repository. */
export function policiesOf(policies: LifecyclePolicy[], repository: string): LifecyclePolicy[] {
  return policies.filter((policy) => matches(policy.repositories, repository));
}

export function isRetention(policy: LifecyclePolicy): policy is RetentionPolicy {
  return policy.kind === 'retention';
}

export function isTagsPolicy(policy: LifecyclePolicy): policy is TagsPolicy {
  return policy.kind === 'tags';
}

export function isQuota(policy: LifecyclePolicy): policy is QuotaPolicy {
  return policy.kind === 'quota';
}
