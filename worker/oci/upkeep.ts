/**
 * What a repository keeps of its past, and how content is deleted and restored: the values that the registry, its Durable Objects and
 * the management API share.
 */
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
