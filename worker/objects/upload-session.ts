/** What an UploadSession object can do. `durable-objects/upload-session/upload-session.ts` is the class. */
import type { SavedHash } from '../blobs/hash.ts';
import type { Added, Draft } from '../blobs/store.ts';
import type { Algorithm, Digest } from '../oci/digest.ts';
import type { Inventory, InventoryPlace, KnownDraft } from './check.ts';

/** What the client's token says about an upload. */
export interface UploadClaim {
  algorithm: Algorithm;
  /** Unix time, ms. */
  expiresAt: number;
  /** The client says that it has sent chunks before; not proven. If the session does not know the upload, it has ended. */
  begun: boolean;
}

/** What a request says before it adds a chunk. */
export interface ChunkStart {
  /** The offset of the chunk; null for the offset of the upload. */
  at: number | null;
  /** How many part numbers to reserve for the chunk. */
  reserve: number;
  /** The largest tail that may come with the answer, in bytes. */
  tailMax: number;
}

/** An upload that may continue. */
export interface OpenUpload {
  status: 'open';
  offset: number;
  draft: Draft;
  /** The running hash; null if there are no bytes yet, or if it was lost. */
  hash: SavedHash | null;
  /** The size that the client has announced, in bytes, if it stores the bytes itself, or 0 if it has not; else null. */
  direct: number | null;
}

/** Where a client stores the bytes of an upload itself, past the Worker. */
export interface DirectDraft {
  /** The uuid of the content. */
  draft: string;
  /** R2's id of the multipart upload that was begun for it; null for a single PUT. */
  multipart: string | null;
}

/** `gone`: cancelled, expired or ended. `elsewhere`: the chunk does not begin at the offset. */
export type Refusal = { status: 'gone' } | { status: 'elsewhere'; offset: number };

/** What a request has added. */
export interface Progress extends Added {
  /** The offset before and after. */
  from: number;
  offset: number;
  /** The part numbers that were reserved: the first, and how many. */
  firstPart: number;
  reserved: number;
  /** False if the request adds more and needs the rest of these numbers. */
  ends: boolean;
  /** Null if it was lost. The content is then read back once before it is published. */
  hash: SavedHash | null;
}

/**
 * `again`: an earlier request has sealed the upload for this digest. `published`: the blob was linked, and nothing is left to
 * do. `mismatch`: the content has another digest and is to be discarded. `none`: the session has no such upload.
 */
export type SealResult =
  | (OpenUpload & { again: boolean })
  | { status: 'published' }
  | { status: 'mismatch'; draft: Draft }
  | { status: 'gone' }
  | { status: 'none' };

/**
 * There are 256, by the first byte of the upload id; on one machine there is one. It keeps the offset of uploads in chunks and
 * where their bytes are. Offsets move by compare-and-swap.
 */
export interface UploadSessionObject extends Rpc.DurableObjectBranded {
  /** The number of bytes received. */
  status(id: string): { status: 'open'; offset: number } | { status: 'gone' } | { status: 'none' };
  /**
   * Opens the upload for a chunk. Two requests may do so at once: they write parts with different numbers, and `advance` accepts
   * the first to finish.
   */
  begin(id: string, claim: UploadClaim, chunk: ChunkStart): Promise<OpenUpload | Refusal>;
  /** Opens an upload whose bytes the client stores itself. It takes no chunk. `size` is in bytes, or 0 if it is not known. */
  beginDirect(id: string, claim: UploadClaim, draft: DirectDraft, size: number): Promise<void>;
  /** Null if the upload is not open, or takes chunks. */
  directDraft(id: string): DirectDraft | null;
  /** The bytes behind the last part. */
  tail(id: string): Uint8Array;
  /** Accepts what a chunk has added, if the offset has not moved since the chunk began. */
  advance(id: string, progress: Progress): { status: 'open'; offset: number } | Refusal;
  /** Ends the upload for the digest of its final PUT. After this, it accepts no chunk and no cancel. */
  seal(id: string, digest: Digest, tailMax: number): Promise<SealResult>;
  /**
   * Records that the blob was linked, and whether its bytes are those of this upload (`ours`). If they are not, the bytes of the
   * upload stay until it is forgotten, because a repetition of the final PUT may be publishing them.
   */
  published(id: string, ours: boolean): void;
  /** Records that the content has another digest than it was sealed for. No request can publish it. */
  markMismatch(id: string): void;
  /**
   * Cancels the upload, also one without chunks, and returns the draft to discard. A sealed upload is `gone`: its bytes may be
   * published already.
   */
  cancel(id: string, claim: UploadClaim): Promise<{ status: 'cancelled'; draft: Draft } | { status: 'gone' }>;

  /** For the consistency check: a page of the drafts of all uploads. `from` is `next` of the page before, or null. */
  inventory(from: InventoryPlace | null, count: number): Inventory<KnownDraft>;
  /** Those of the uuids that are of drafts. */
  draftsAmong(ids: string[]): string[];
}
