/**
 * The interface of a blob store: what both a bucket and a folder can do. A store knows storage keys and bytes, and checks a digest in
 * `put` only. `r2.ts` and `disk.ts` implement it, and test/blobs runs one suite over both.
 */

import type { Lease } from '../memory/budget.ts';
import type { Digest } from '../oci/digest.ts';

/** One part of an upload. R2 needs the etag to complete the upload; on disk a part is a file. */
export interface Part {
  number: number;
  /** In bytes. */
  size: number;
  etag: string;
}

/** The stored bytes of an upload that has not ended. */
export interface Draft {
  /** A uuid. It says nothing about the bytes. */
  id: string;
  /** R2's id of the multipart upload; null before the first part. */
  multipart: string | null;
  parts: Part[];
  /** The number that the next part gets. */
  firstPart: number;
  tail: StoredTail;
}

/** The bytes behind the last part, which are too few for another part. */
export interface StoredTail {
  size: number;
  /** Null if only the session has them. */
  bytes: Uint8Array | null;
}

/** What a request has added to a draft since it last saved its progress. */
export interface Added {
  multipart: string | null;
  parts: Part[];
  /** The bytes behind the last part. If there is no new part, they follow the tail that the draft had. */
  tail: Uint8Array;
}

/** What a request has added to a draft when its body has ended. */
export interface AppendResult extends Added {
  /** The error that ended the body early, or null. The bytes before it are kept. */
  error: unknown;
  /** False if `tap` got bytes that were not kept. */
  intact: boolean;
}

/** What a store needs to append for a request. */
export interface AppendContext {
  /** The memory of the request. It includes the bytes of the draft's tail. */
  lease: Lease;
  /** Gets every byte that is added, in order. */
  tap: Tap;
  /** Saves what has been added so far, so that its memory can be released. */
  keep(added: Added): Promise<void>;
  /** Loads the tail from the session. The caller has taken memory for it. */
  loadTail(): Promise<Uint8Array>;
}

export interface BlobStore {
  /**
   * Whether all requests of an upload reach the same isolate. It can then keep a native hash between them, which is faster but cannot
   * be saved. If it is lost, the content is read back.
   */
  readonly isSingleIsolate: boolean;

  /** Content up to this size, in bytes, is kept beside its link and not in the store; null if all content is in the store. */
  readonly inlineMaxBytes: number | null;

  /**
   * Writes content of a known size and digest as it arrives. False if the content has another digest, and then nothing is kept.
   *
   * Throws what the stream throws.
   */
  put(
    key: string,
    body: ReadableStream<Uint8Array>,
    size: number,
    digest: Digest,
    lease: Lease,
  ): Promise<boolean>;

  /** How many part numbers a chunk may need. `size` is in bytes; null if unknown. */
  partsFor(size: number | null): number;
  /** The largest tail, in bytes. */
  readonly tailMax: number;
  /** Adds a body to a draft and cuts it into parts. When it returns, the lease still holds the bytes of `tail` in the result. */
  append(
    draft: Draft,
    body: ReadableStream<Uint8Array>,
    size: number | null,
    writing: AppendContext,
  ): Promise<AppendResult>;
  /** Removes what a request has added, if the session did not accept it. */
  withdraw(draft: Draft, added: AppendResult): Promise<void>;
  /** The storage key of a draft's content once it is finished. */
  keyOf(draft: Draft): string;
  /**
   * Turns a draft, whose tail is in memory, into content. `again`: an earlier request may have done so already. False if the bytes of
   * the draft were deleted meanwhile.
   */
  finish(draft: Draft, again: boolean): Promise<boolean>;
  /** Removes what no storage key leads to. Content that was made of the draft stays. May be repeated. */
  abandon(draft: Draft): Promise<void>;
  /** Removes a draft and the content that was made of it. May be repeated. */
  discard(draft: Draft): Promise<void>;

  /** For clients that store the bytes of an upload themselves; null where there is no way past the Worker. */
  readonly direct: DirectStore | null;

  /** The bytes under a storage key, or `length` of them from `offset`. Null if they do not exist, or not completely. */
  get(key: string, range?: { offset: number; length: number }): Promise<StoredContent | null>;
  /** The size of the content under a storage key, in bytes. Null if it does not exist, or not completely. */
  sizeOf(key: string): Promise<number | null>;
  /** Deletes any number of storage keys, and returns those that could not be deleted. A missing key is not an error. */
  delete(keys: string[]): Promise<string[]>;

  /** Up to `count` of everything that is stored, by its uuid, after the uuid (or the beginning of one) `after`. */
  list(after: string, count: number): Promise<StoredPage>;
}

export interface StoredPage {
  entries: StoredEntry[];
  /** Where the next page begins; null on the last page. */
  next: string | null;
}

/** What is stored under one uuid. */
export interface StoredEntry {
  id: string;
  /** When something of it was written last (Unix time, ms). */
  changedAt: number;
  /** The storage keys, and the size in bytes of the content of each; null for content that is not complete. */
  keys: { key: string; size: number | null }[];
}

/** What clients store themselves, past the Worker. */
export interface DirectStore {
  /** Begins a multipart upload, and returns its id. */
  begin(key: string): Promise<string>;
  /** What a client has stored; null if there is nothing under the key. */
  stored(key: string): Promise<StoredByClient | null>;
}

export interface StoredByClient {
  /** In bytes. */
  size: number;
  /** The digest that the store has compared with the bytes as they arrived; null if it has not. */
  digest: Digest | null;
  /** Whether it has no other headers than all contents have. It may have no `Content-Disposition`. */
  hasOwnHeaders: boolean;
}

export interface StoredContent {
  body: ReadableStream<Uint8Array>;
  /** The size of the whole content under the key, in bytes. */
  size: number;
}

export type Tap = (bytes: Uint8Array) => void;
