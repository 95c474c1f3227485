/**
 * The seam: the interface of a registry, in the terms of the specification. The HTTP side uses only this, and the storage side
 * implements it. All values are parsed. Methods throw `OciError` with the codes named here.
 */
import type { Descriptor } from './descriptor.ts';
import type { Algorithm, Digest } from './digest.ts';
import type { Manifest, StoredManifest } from './manifest.ts';
import type { Listing, Page } from './page.ts';
import type { Pattern } from './pattern.ts';
import type { ByteRange } from './range.ts';
import type { Reference, RepositoryName, Tag } from './reference.ts';
import type { Author } from './upkeep.ts';

export interface Registry {
  /** `by` makes the changes. */
  repository(name: RepositoryName, by?: Author): Repository;
  /** The names of the repositories that hold something, in lexical order. */
  catalog(page: Page): Promise<Listing<string>>;
}

export interface Repository {
  readonly name: RepositoryName;

  /** A blob that is linked here; its bytes are read only when they are asked for. BLOB_UNKNOWN. end-2. */
  blob(digest: Digest): Promise<Blob>;
  /** Unlinks a blob that no manifest here references. BLOB_UNKNOWN, UNSUPPORTED where one does. end-10. */
  deleteBlob(digest: Digest): Promise<void>;
  /** Links a blob of another repository without copying its bytes. False where that is not possible: the client then uploads it. end-11. */
  mountBlob(digest: Digest, from: MountSource): Promise<boolean>;

  /**
   * A client asks for a blob that is not here, and may start its upload next. Returns true if its bytes had arrived past the registry and are
   * linked now. Otherwise resolves when the client may start the upload. `isDirect`: the client may store the bytes itself.
   */
  ask(client: AskingClient, digest: Digest, isDirect: boolean): Promise<boolean>;
  /**
   * Starts the upload of the digest that the client has named, or has asked for. The client stores the bytes under the key itself, and a
   * manifest that names the blob commits it. Null if the upload is to be an ordinary one.
   */
  startAsked(client: AskingClient, named: Digest | null): Promise<AskedUpload | null>;
  /** The client got the blob in another way than by an upload. */
  endTurn(client: AskingClient): Promise<void>;

  /** `direct`: the client wants to store the bytes itself. The registry need not allow it. end-4a, end-4c. */
  startUpload(algorithm: Algorithm, direct: DirectRequest | null): Promise<Upload>;
  /** An upload by the token that its Location carried. BLOB_UPLOAD_UNKNOWN. */
  upload(id: string, token: string): Promise<Upload>;

  /** A tag as `pastTag` reads it leads to what it led to at that time. MANIFEST_UNKNOWN, NAME_UNKNOWN. end-3. */
  headManifest(reference: Reference): Promise<StoredManifest>;
  getManifest(reference: Reference): Promise<StoredManifest & { bytes: Uint8Array }>;
  /** Writes a manifest and all that follows from it, or nothing. MANIFEST_BLOB_UNKNOWN, DENIED by a lifecycle policy. end-7. */
  putManifest(manifest: ManifestPut): Promise<void>;
  /**
   * Deletes a manifest, the tags that point to it, and its untagged referrers. MANIFEST_UNKNOWN, NAME_UNKNOWN, DENIED by a lifecycle
   * policy. end-9.
   */
  deleteManifest(digest: Digest): Promise<void>;
  /** Deletes a tag and leaves its manifest. MANIFEST_UNKNOWN, NAME_UNKNOWN, DENIED by a lifecycle policy. end-9. */
  deleteTag(tag: Tag): Promise<void>;
  /** NAME_UNKNOWN. end-8. */
  tags(page: Page): Promise<Listing<string>>;
  /** Up to `count` tags of a manifest, in lexical order; none of one that is not here. */
  tagsOf(digest: Digest, count: number): Promise<string[]>;
  /** The manifests whose subject is this digest, by their digests after `last`. Never an error. end-12. */
  referrers(subject: Digest, filter: ReferrersFilter): Promise<Listing<Descriptor>>;
}

/** A repository to mount from, or patterns of such repositories: one pattern of each list must match. Without lists, every repository matches. */
export type MountSource = RepositoryName | Pattern[][];

export interface Blob {
  digest: Digest;
  /** In bytes. */
  size: number;
  /** The key of the bytes in the store. It does not depend on the content. */
  key: string;
  /** The bytes, or a range of them. */
  read(range: ByteRange | null): Promise<ReadableStream<Uint8Array>>;
}

export interface ManifestPut {
  digest: Digest;
  bytes: Uint8Array;
  manifest: Manifest;
  tags: Tag[];
}

export interface ReferrersFilter {
  artifactType: string | null;
  last: string | null;
}

/** A part of a blob that a request uploads. */
export interface Chunk {
  body: ReadableStream<Uint8Array> | null;
  /** In bytes; null where the client does not say. */
  size: number | null;
  /** Where the client says that the chunk lies; null appends. */
  range: ByteRange | null;
  /** The user, robot or address that sends it; empty where that is not known. */
  sender: string;
}

/** A client that names no digest when it starts an upload, but has asked for it before. */
export interface AskingClient {
  /** Tells it from others. */
  key: string;
}

/** An upload of a digest that the client has asked for, and whose bytes it stores itself. */
export interface AskedUpload {
  id: string;
  /** The key of the bytes in the store. */
  key: string;
  digest: Digest;
}

/** What a client says that wants to store the bytes of an upload itself. */
export interface DirectRequest {
  /** In bytes. */
  size: number;
  /** In the parts of a multipart upload, and not by one PUT. */
  inParts: boolean;
}

/** Where a client stores the bytes of an upload itself. */
export interface DirectPlace {
  /** The key of the bytes in the store. */
  key: string;
  /** The id of the multipart upload; null for one PUT. */
  multipart: string | null;
}

export interface Upload {
  readonly id: string;
  /** Unix time, ms. */
  readonly startedAt: number;
  /** Proves that the registry issued the id. It is in the Location. */
  readonly token: string;
  /**
   * Call it before the client gets the Location. Returns whether uploads of this repository have begun lately whose bytes the
   * platform refused.
   */
  offer(userAgent: string): Promise<boolean>;
  /** Bytes received. BLOB_UPLOAD_UNKNOWN. end-13. */
  status(): Promise<number>;
  /** Appends a chunk and gives the bytes received. BLOB_UPLOAD_UNKNOWN, BLOB_UPLOAD_INVALID, SIZE_INVALID. end-5. */
  append(chunk: Chunk): Promise<number>;
  /**
   * Ends the upload with a last chunk, if there is one, and links the blob. BLOB_UPLOAD_UNKNOWN, BLOB_UPLOAD_INVALID,
   * DIGEST_INVALID, SIZE_INVALID. end-6; the whole blob in one request is end-4b, and end-6 right after end-4a.
   */
  commit(digest: Digest, chunk: Chunk): Promise<void>;
  /** Where the client stores the bytes itself; null where it sends them to the registry, and after the end of the upload. */
  direct(): Promise<DirectPlace | null>;
  /** BLOB_UPLOAD_UNKNOWN. end-14. */
  cancel(): Promise<void>;
}
