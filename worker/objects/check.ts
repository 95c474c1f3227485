/** What the objects tell the consistency check of their rows, page by page. */
import type { Digest } from '../oci/digest.ts';

/** Where a page of an inventory begins: a table, and the primary key of the row before. */
export type InventoryPlace = string[];

/** One page of what an object keeps. `next` says where the next page begins; null on the last page. */
export interface Inventory<Entry> {
  entries: Entry[];
  next: InventoryPlace | null;
}

/** The draft of an upload that its session remembers. */
export interface KnownDraft {
  kind: 'draft';
  /** The uuid of the content. */
  id: string;
}

/** Content that a shard knows. */
export interface KnownContent {
  kind: 'content';
  digest: Digest;
  key: string;
  /** In bytes. */
  size: number;
  /** `expected`: a push is about to store it, or has, which only its repository knows. */
  state: 'stored' | 'expected' | 'deleting';
  /** No link holds it, and it is not going to be deleted. */
  isLeft: boolean;
}

/** A link that a shard knows. */
export interface KnownLink {
  kind: 'link';
  digest: Digest;
  key: string;
  repository: string;
  link: string;
  /** The repository has confirmed it. */
  settled: boolean;
  /** The shard knows the content that it leads to. */
  hasContent: boolean;
}

/** A blob of a repository that is in the store. */
export interface KnownBlob {
  kind: 'blob';
  digest: Digest;
  key: string;
  /** In bytes. */
  size: number;
  link: string;
}

/** A manifest that names something that must be in the repository, and is not. */
export interface MissingName {
  kind: 'missing';
  manifest: Digest;
  digest: Digest;
}

/** What identifies a link of a repository in its shard. */
export type LinkOfRepository = Pick<KnownLink, 'digest' | 'key' | 'repository' | 'link'>;
