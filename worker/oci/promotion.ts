/**
 * Promotions: an image of one repository appears in another, with everything that belongs to it. No bytes of blobs are copied. These are
 * the values that the registry, its Durable Objects and the management API share.
 */
import type { Digest } from './digest.ts';
import type { Pattern } from './pattern.ts';
import type { Reference, RepositoryName, Tag } from './reference.ts';

export interface Promotion {
  from: RepositoryName;
  /** The image in `from`. */
  reference: Reference;
  /** What the tag led to in the first step, where this is a later one. The tag may have moved since. */
  digest: Digest | null;
  to: RepositoryName;
  /** The tags that lead to the image in `to`. */
  tags: Tag[];
  /** The tags that the caller may set in `to`: of each list, a pattern must match. No lists are all tags. */
  pushes: Pattern[][];
  /** Attaches a statement of who promoted what, and when. */
  attests: boolean;
  dryRun: boolean;
}

/** What a promotion has done so far, or would do. */
export interface Promoted {
  /** False: another step is to follow. */
  isDone: boolean;
  digest: Digest;
  /** The image as the history names it, such as `dev/api:sha-abc`. */
  source: string;
  /** `before`: what the tag led to before; null for nothing. */
  tags: { tag: string; digest: Digest; before: Digest | null }[];
  /** How many belong to the image, and how many of them were copied. */
  manifests: { total: number; copied: number };
  /** How many belong to the image, how many this step has linked, and how many are left to link. */
  blobs: { total: number; linked: number; remaining: number };
  /** In bytes: the blobs of the image, none of which is copied. */
  bytes: number;
  leftOut: LeftOut[];
  /** The digest of the attestation; null if there is none. */
  attestation: Digest | null;
}

/** What belongs to the image and is not promoted. */
export interface LeftOut {
  /** A tag, or the digest of a manifest whose referrers are meant. */
  what: string;
  why: NotPromoted;
}

/**
 * - `referrers over the limit`: the manifest has more than a promotion copies.
 * - `tag is there`: the target has this tag, with another digest.
 * - `tag not covered`: the caller may set only some tags, and not this one.
 * - `referrers not covered`: the caller may set only some tags, and the target has the manifest already, for others too.
 */
type NotPromoted = 'referrers over the limit' | 'tag is there' | 'tag not covered' | 'referrers not covered';
