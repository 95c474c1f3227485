/**
 * The seam of the bytes: what both a bucket and a folder can do. It knows keys and bytes; digests only where the store
 * itself checks them. `r2.ts` and `disk.ts` implement it, and one contract suite runs over both.
 */

import type { Lease } from '../memory/budget.ts';
import type { Digest } from '../oci/digest.ts';

/** One piece of an upload. R2 wants its etag back; on disk it is a file. */
export interface Part {
  number: number;
  /** In bytes. */
  size: number;
  etag: string;
}

/** The bytes of an upload that has not ended. */
export interface Draft {
  /** A uuid of its own, which says nothing about the bytes. */
  id: string;
  /** R2's id of the multipart upload; null before the first part. */
  multipart: string | null;
  parts: Part[];
  /** The number that the next part gets. */
  firstPart: number;
  tail: StoredTail;
}

/** Bytes behind the last part that do not make a part. */
export interface StoredTail {
  size: number;
  /** Null where only the session has them. */
  bytes: Uint8Array | null;
}

/** What a request has added to a draft, since it last wrote that down. */
export interface Added {
  multipart: string | null;
  parts: Part[];
  /** Bytes behind the last part. Where there is no new part, they follow the tail that the draft had. */
  tail: Uint8Array;
}

/** What a request has added to a draft when its body has ended. */
export interface AppendResult extends Added {
  /** What went wrong before the end of the body; what came before is kept. */
  error: unknown;
  /** False where bytes went through the `tap` that were not kept. */
  intact: boolean;
}

/** What a request needs to add to a draft. */
export interface AppendContext {
  /** Its memory, with the bytes of the draft's tail in it. */
  lease: Lease;
  /** Is shown every byte that is added, in order. */
  tap: Tap;
  /** Writes down what has been added so far, so that its memory can be given back. */
  keep(added: Added): Promise<void>;
  /** The tail that the session has, for which memory has been taken. */
  loadTail(): Promise<Uint8Array>;
}

export interface BlobStore {
  /**
   * Whether an isolate that hashes on should do so natively, and read the content back where it could not: true where
   * requests of one upload always meet in one isolate.
   */
  readonly isSingleIsolate: boolean;

  /** Content up to this size, in bytes, is put beside its link and not into the store; null for none, not even empty content. */
  readonly inlineMaxBytes: number | null;

  /**
   * Writes content of a known size and digest as it arrives. False where the content is not that of the digest; nothing is
   * then kept. Throws what the stream throws.
   */
  put(key: string, body: ReadableStream<Uint8Array>, size: number, digest: Digest): Promise<boolean>;

  /** How many part numbers a chunk of a size (null: unknown) behind a tail may need. */
  partsFor(size: number | null): number;
  /** The size that a tail may have, in bytes. */
  readonly tailMax: number;
  /** Adds a body to a draft, cutting it into parts. The lease still has what `tail` says when it is done. */
  append(
    draft: Draft,
    body: ReadableStream<Uint8Array>,
    size: number | null,
    writing: AppendContext,
  ): Promise<AppendResult>;
  /** Takes back what a request has added, where the session did not take it. */
  withdraw(draft: Draft, added: AppendResult): Promise<void>;
  /** The key that a draft will be read by once it is finished. */
  keyOf(draft: Draft): string;
  /**
   * Makes content of a draft whose tail is in memory. `again` says that this may have been done before. False where what the draft
   * had stored was deleted since.
   */
  finish(draft: Draft, again: boolean): Promise<boolean>;
  /** Forgets what a draft has that no key leads to. Content that was made of it stays. May be repeated. */
  abandon(draft: Draft): Promise<void>;
  /** Forgets a draft and whatever it has become. May be repeated. */
  discard(draft: Draft): Promise<void>;

  /** The bytes of a key, or `length` of them from `offset`. Null where there are none, or not all of these. */
  get(key: string, range?: { offset: number; length: number }): Promise<StoredContent | null>;
  /** The size of what is under a key, in bytes. Null where there is nothing, or not all of it. */
  sizeOf(key: string): Promise<number | null>;
  /** Deletes keys, however many, and gives those that could not be deleted. Keys that are not there are no error. */
  delete(keys: string[]): Promise<string[]>;
}

export interface StoredContent {
  body: ReadableStream<Uint8Array>;
  /** Of all that is under the key, in bytes. */
  size: number;
}

export type Tap = (bytes: Uint8Array) => void;
