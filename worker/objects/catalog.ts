/** What the Catalog object can do. `durable-objects/catalog.ts` is the class. */
import type { EffectivePolicies, LifecyclePolicy } from '../lifecycle/policy.ts';
import type { Digest } from '../oci/digest.ts';
import type { Listing } from '../oci/page.ts';
import type { Pattern } from '../oci/pattern.ts';
import type { AbandonedUploads } from './repository.ts';

export type NewLifecyclePolicy = LifecyclePolicy extends infer Kind
  ? Kind extends LifecyclePolicy
    ? Omit<Kind, 'id'>
    : never
  : never;

/** How many repositories a change of a policy is for, and how many of them do not know of it yet. */
export interface Reach {
  repositories: number;
  following: number;
}

/** An image that a cluster or a host runs. */
export interface ReportedImage {
  repository: string;
  digest: Digest;
}

/** There is one for the registry. It keeps the names of the repositories that hold something, and the lifecycle policies. */
export interface CatalogObject extends Rpc.DurableObjectBranded {
  /**
   * Records whether a repository holds something. Of two messages, the one with the higher version counts. `revision` is that of the
   * policies that the repository knows, -1 for none. Returns its policies if they may have changed since.
   */
  announce(name: string, present: boolean, version: number, revision?: number): EffectivePolicies | null;
  /** Records the abandoned uploads of a repository; null if it has none any more. */
  announceAbandoned(name: string, uploads: AbandonedUploads | null): void;
  /** Up to `count` repositories with abandoned uploads after `last`, in lexical order. */
  listAbandoned(count: number, last: string | null): Listing<AbandonedUploads & { repository: string }>;
  /**
   * Takes a number of rows from those that large deletions may write today (UTC). False if fewer than these are left; the first of a day
   * always gets them.
   */
  takeAllowance(rows: number, rowsPerDay: number): boolean;
  /** Up to `count` names after `last`, in lexical order. */
  list(count: number, last: string | null): Listing<string>;
  /** As `list`, with repositories that hold nothing any more. They may have a trash. */
  listAll(count: number, last: string | null): Listing<string>;

  /** The lifecycle policies that match a repository. */
  policiesOf(name: string): EffectivePolicies;
  /** By age. */
  listLifecycle(): LifecyclePolicy[];
  /** Null if there are too many. The repositories are told in steps. */
  createLifecycle(policy: NewLifecyclePolicy): Promise<LifecyclePolicy | null>;
  /** Null if there is no policy of this id. */
  replaceLifecycle(id: string, policy: NewLifecyclePolicy): Promise<LifecyclePolicy | null>;
  /** Returns the policy that was deleted. Null if there is no policy of this id. */
  deleteLifecycle(id: string): Promise<LifecyclePolicy | null>;
  reach(pattern: Pattern): Reach;
  /** Records images that a source runs. False if there are too many reports. */
  reportRunning(source: string, images: ReportedImage[]): boolean;
  /** The images of a repository that were reported lately. */
  runningOf(name: string): Digest[];
}
