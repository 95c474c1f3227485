/**
 * What a repository keeps of its past, and how content is deleted and restored: the values that the registry, its Durable Objects and
 * the management API share.
 */
import type { Digest } from './digest.ts';
import type { Pattern } from './pattern.ts';

/** Who makes a change. */
export interface Author {
  /** `user:bob` or `token:ci`; empty where access control is off. */
  actor: string;
  /** The address of the client; empty where it is not known. */
  address: string;
  /** The tags that the caller may delete: of each list, a pattern must match. No lists are all tags, and null is none. */
  maintains: Pattern[][] | null;
}

export const NO_AUTHOR: Author = { actor: '', address: '', maintains: [] };

/** Why a tag or a manifest changes. */
export type Why = 'push' | 'delete' | 'retention' | 'restore' | 'promote';

/** Who makes a change, and why. */
export interface Change extends Author {
  why: Why;
  /** Of a promotion: the image in the repository that it came from, such as `dev/api:sha-abc`. */
  source?: string | null;
}

/** Who made a change, and why, as it is recorded. */
export type Act = Omit<Change, 'maintains'>;

/** What is to be deleted. `all` is the whole repository. */
export interface Removal {
  tags?: string[];
  manifests?: Digest[];
  all?: boolean;
}

export interface RemovalOptions extends Change {
  /** Nothing is deleted: the answer says what would be. */
  dryRun: boolean;
  /** The id of an earlier deletion of this repository that this one continues; null for a new one. */
  deletion: string | null;
}

/** One act that removed tags and manifests. It can be undone until `undoUntil`. Times are Unix time, ms. */
export interface Deletion extends Act {
  id: string;
  at: number;
  what: 'tags' | 'manifests' | 'repository';
  /** Some of the tags and digests that were named by the caller, for people. */
  names: string[];
  /** How many tags and manifests were deleted. While steps are left to do, how many so far. */
  tags: number;
  manifests: number;
  /** In bytes: the blobs that no other manifest of this repository names. */
  bytes: number;
  undoUntil: number;
  /** `deleting` and `restoring`: all is gone, or is coming back, and steps are left to do. */
  state: 'deleting' | 'deleted' | 'restoring' | 'restored';
}

/** What a deletion removes, or would remove. */
export interface Removed {
  /** Null for a dry run, and where nothing was found or deletions cannot be undone. */
  deletion: Deletion | null;
  /** Tags and manifests, of each up to 1,000. */
  tags: { tag: string; digest: Digest }[];
  manifests: { digest: Digest; mediaType: string; why: GoesBecause }[];
  tagCount: number;
  manifestCount: number;
  /** In bytes: what the store will free. Blobs that another repository links are not in it. Null if that was not asked for. */
  bytes: number | null;
  /** When the store has freed the bytes at the latest, and until when the deletion can be undone (Unix time, ms). */
  freedBy: number;
  /** Null where deletions cannot be undone. */
  undoUntil: number | null;
  /** What was asked for and is not there. */
  unknown: string[];
}

/** Why a manifest is deleted with others. */
export type GoesBecause = 'named' | 'untagged' | 'child' | 'referrer' | 'signature';

/** A move of a tag. Times are Unix time, ms. */
export interface TagMove extends Act {
  source: string | null;
  tag: string;
  /** Counts the moves of the tag. */
  seq: number;
  /** Null for a delete. */
  digest: Digest | null;
  /** What the tag led to before. */
  from: Digest | null;
  at: number;
  /** The deletion that this move was part of. */
  deletion: string | null;
}

/** What is to be restored: a whole deletion; or a tag, to what it led to at a time (Unix time, ms), to a digest, or to what it led to last. */
export type Restoration = { deletion: string } | { tag: string; at: number | null; digest: Digest | null };

export interface RestoreOptions extends Change {
  dryRun: boolean;
  /** Tags that have moved since the deletion are moved back. */
  force: boolean;
}

/** What was restored, or would be. */
export interface Restored {
  /** Tags that lead to these digests again, up to 1,000, and how many there are. */
  tags: { tag: string; digest: Digest }[];
  tagCount: number;
  manifestCount: number;
  /** Tags that have moved since, up to 1,000: they stay, unless that was forced. `digest` is null for a tag that was deleted again. */
  conflicts: { tag: string; digest: Digest | null; wanted: Digest }[];
  /** Steps are left to do. */
  isUnderWay: boolean;
}

/** Why nothing was restored. */
export type NotRestored = 'no deletion' | 'no such tag then' | 'gone for good' | 'the tag is there';

/** Where a list of moves goes on: before this move. */
export type MovePlace = Pick<TagMove, 'at' | 'tag' | 'seq'>;

/** What a tag led to at two times; null for nothing. */
export interface TagDiff {
  tag: string;
  from: Digest | null;
  to: Digest | null;
}
