/** What a BlobShard object can do. `durable-objects/blob-shard/blob-shard.ts` is the class. */
import type { Digest } from '../oci/digest.ts';
import type { Pattern } from '../oci/pattern.ts';
import type { Inventory, InventoryPlace, KnownContent, KnownLink, LinkOfRepository } from './check.ts';

export interface LinkRequest {
  /** The id of the new link. */
  link: string;
  digest: Digest;
  repository: string;
  content: LinkContent;
}

/**
 * The content to link: content under a key that the caller is about to store, or that a repository has a link to (`proven`); or
 * any content that is held by a repository whose name matches a pattern of each list.
 */
export type LinkContent = { key: string; size: number; proven: boolean } | { among: Pattern[][] };

/** The content that a new link leads to. */
export interface LinkedObject {
  key: string;
  /** In bytes. */
  size: number;
  /** The store has the bytes already. */
  stored: boolean;
}

/** A link that its repository has removed. `key` is null for links that release 0.1.0 removed. */
export interface ReleasedLink {
  link: string;
  digest: Digest;
  repository: string;
  key: string | null;
}

/** The bytes of an upload that has ended. A slow request may still publish them. */
export interface Leftover {
  digest: Digest;
  /** The uuid of the content. */
  id: string;
  key: string;
  /** In bytes. */
  size: number;
}

/** Where the store has the bytes of a blob. */
export interface StoredBlob {
  digest: Digest;
  /** The storage key. */
  key: string;
  /** In bytes. */
  size: number;
}

/**
 * There is one for each first byte of a digest; on one machine there is one for all. It knows which keys have the bytes of a
 * digest and which links hold them, and deletes the bytes some time after the last link.
 */
export interface BlobShardObject extends Rpc.DurableObjectBranded {
  /**
   * Writes a link to content of this digest: to content that is stored already, or else to that of the caller. Null if there is
   * neither, because the caller named none, or because the content that it named is being deleted.
   */
  link(request: LinkRequest): Promise<LinkedObject | null>;
  /**
   * Writes links of a repository to content that another repository has a link to, in one step. Null for content that is being deleted.
   */
  linkMany(repository: string, wanted: (StoredBlob & { link: string })[]): Promise<(LinkedObject | null)[]>;
  /** Removes links. Content without a link is deleted later. May be repeated. */
  release(links: ReleasedLink[]): Promise<void>;
  /** Takes over the bytes of an upload that has ended. They are deleted later, unless they get a link before. May be repeated. */
  collect(leftover: Leftover): Promise<void>;
  /**
   * Whether the store has lost content: it has nothing under the key, or something of another size. If so, no new link leads to
   * this content, and the repositories that hold it are told.
   */
  dropIfLost(blob: StoredBlob): Promise<boolean>;
  /** The keys of those contents that another repository links. */
  keysHeldElsewhere(repository: string, contents: { digest: Digest; key: string }[]): string[];
  /**
   * Lists the content that was linked last. The alarm then compares its bytes with the digests, and drops what does not match as
   * `dropIfLost` does. For one machine: after a crash, the disk may have lost bytes that it had confirmed.
   */
  verifyRecent(): Promise<void>;

  /** For the consistency check: a page of contents and links. `from` is `next` of the page before, or null. */
  inventory(from: InventoryPlace | null, count: number): Inventory<KnownContent | KnownLink>;
  /** Those of the uuids whose content it knows. */
  contentsAmong(ids: string[]): string[];
  /** Whether it knows this link and its content. */
  knowsLink(link: LinkOfRepository): boolean;
  /** Whether it counts on this link and need not ask the repository any more. */
  isSettled(link: LinkOfRepository): boolean;
  /** Asks the repository again about a link, soon. A link that the repository does not have is removed. */
  settleAgain(link: LinkOfRepository): Promise<void>;
  /** Writes the link of a blob that a repository has. False if the store does not have the bytes. */
  relink(blob: LinkOfRepository, size: number): Promise<boolean>;
  /** Whether the store lacks content that it should have, or some of it. */
  isLost(blob: StoredBlob): Promise<boolean>;
  /** Whether content has no link and would stay for ever. With `repair` it is deleted later, unless it gets a link before. */
  isLeft(digest: Digest, key: string, repair: boolean): Promise<boolean>;
}
