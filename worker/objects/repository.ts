/** What a Repository object can do. `durable-objects/repository/repository.ts` is the class. */
import type { Plan, PlanAction, PlannedTag } from '../lifecycle/plan.ts';
import type { EffectivePolicies, LifecyclePolicy } from '../lifecycle/policy.ts';
import type { QuotaUse } from '../lifecycle/quota.ts';
import type { JudgedTag } from '../lifecycle/retention.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import type { StoredManifest } from '../oci/manifest.ts';
import type { Listing } from '../oci/page.ts';
import type { ManifestPut } from '../oci/registry.ts';
import type {
  Author,
  Change,
  Deletion,
  MovePlace,
  NotRestored,
  Removal,
  RemovalOptions,
  Removed,
  Restoration,
  Restored,
  RestoreOptions,
  TagDiff,
  TagMove,
} from '../oci/upkeep.ts';
import type { Inventory, InventoryPlace, KnownBlob, MissingName } from './check.ts';
import type {
  ManifestCopy,
  PromotedImage,
  PromotionAnswer,
  PromotionPut,
  PromotionQuestion,
  PromotionTarget,
  PromotionTree,
} from './promotion.ts';

/** What does not exist: the repository, or the content that was asked for. */
export type NotFound = 'repository' | 'content';

/** A blob of the repository, and the link that holds its content in the shard. */
export interface LinkedBlob {
  digest: Digest;
  key: string;
  /** In bytes. */
  size: number;
  /** The id of the link. */
  link: string;
}

/** A blob, as a client may be told about it. */
export interface BlobAnswer extends LinkedBlob {
  /** The bytes of a small blob that the repository keeps itself; null if they are in the store. */
  bytes: Uint8Array | null;
  /** Until when (Unix time, ms) this answer may be repeated without asking; null for until the repository changes. */
  safeUntil: number | null;
}

/** What a repository says about a blob that a client asks for. */
export interface Looked {
  blob: BlobAnswer | null;
  /** When the latest abandoned upload began (Unix time, ms); null for never. */
  abandonedAt: number | null;
  /** In bytes: what its quotas still allow; null if there is none. */
  room?: number | null;
}

/** An upload that brought no bytes to the isolate that offered it. */
export interface SilentUpload {
  id: string;
  /** When its client got the Location (Unix time, ms). */
  offeredAt: number;
  userAgent: string;
  /** The connection broke at a limit of the platform. Without this, the upload may have been a probe, or be elsewhere. */
  wasCut: boolean;
}

/** Uploads of a repository that began and brought no bytes. */
export interface AbandonedUploads {
  count: number;
  /** Unix time, ms. */
  lastAt: number;
  /** Of the client of the last one. */
  userAgent: string;
}

/** An upload of a known digest. Its client stores the bytes in the bucket, and a manifest commits it. */
export interface ArrivingBlob {
  digest: Digest;
  /** The id of the upload. */
  upload: string;
  /** The uuid of the content. */
  draft: string;
  /** Unix time, ms. */
  expiresAt: number;
}

/** A client that names no digest in the `POST` of an upload asks for a missing digest before. */
export interface Asked {
  caller: string;
  digest: Digest;
  /** False if its upload will be an ordinary one. */
  isDirect: boolean;
}

/** What identifies a link. */
export type LinkIdentity = Pick<LinkedBlob, 'digest' | 'key' | 'link'>;

/** Some tags of a repository, with what the retention policies say about them. */
export interface JudgedPage {
  tags: JudgedTag[];
  /** The tag after which the next page begins; null on the last page. */
  last: string | null;
}

/** The latest plan of the retention policies, and some of its tags. */
export interface PlanAnswer {
  plan: Plan | null;
  tags: PlannedTag[];
}

/** A lifecycle policy forbids a change: the message for the client. */
export interface Refused {
  refused: string;
}

/** What a repository uses. What is in the trash counts apart. */
export interface RepositoryUsage {
  /** Blobs that manifests name, each once. */
  bytes: number;
  /** Blobs that only manifests in the trash name. */
  trashedBytes: number;
  tags: number;
  manifests: number;
  /** False while manifests of an earlier release are still to be counted. */
  isCounted: boolean;
}

export interface PutAnswer {
  /** References that are not here, so that nothing was written. */
  missing: Digest[];
  /** Uploads that may have brought them. */
  arriving: ArrivingBlob[];
  /** As `Refused`; null if nothing forbids it. */
  refused: string | null;
}

export type DeleteAnswer = 'deleted' | NotFound | Refused;

/** `isPast`: the manifest was deleted, and is served to a client that pulls it as it was. */
export type ManifestAnswer = StoredManifest & { bytes: Uint8Array; isPast?: boolean };

/** There is one for each repository name. It keeps tags with their history, manifests, and the links to blobs. */
export interface RepositoryObject extends Rpc.DurableObjectBranded {
  /** A blob that a client will be told about. If its expiry is near, it is put off, so that the client can push a manifest. */
  blob(digest: Digest): BlobAnswer | null;
  /** As `blob`, for a client that may upload the blob if it is not here. */
  look(digest: Digest): Looked;
  /**
   * Holds the answer for a missing digest back until it is the turn of this digest among those of its caller. If bytes of this digest may have
   * arrived, these uploads are returned at once, without a turn, unless `lookedAt`.
   */
  awaitTurn(asked: Asked, lookedAt: boolean): Promise<ArrivingBlob[]>;
  /**
   * Ends the turn of a caller whose upload begins. Returns the digest that the upload is for, with the upload recorded; null if it is an
   * ordinary one. `named` is a digest that the client has named; `upload` is null if there is none to record.
   */
  takeTurn(
    name: string,
    caller: string,
    named: Digest | null,
    upload: Omit<ArrivingBlob, 'digest'> | null,
  ): Promise<Digest | null>;
  /** Records that bytes of an upload arrive. */
  uploadBegan(upload: string): void;
  /** Counts those uploads that were abandoned. Returns when the latest began (Unix time, ms); null for never. */
  recordAbandoned(name: string, uploads: SilentUpload[]): Promise<number | null>;
  /** The bytes of a small blob that the repository keeps itself; null if it does not. */
  inlineBytes(digest: Digest): Uint8Array | null;
  /**
   * Links a blob whose link the shard has; or, if `bytes` has its verified bytes, one that no shard knows. False if this link, or
   * the upload, was refused before.
   */
  linkBlob(
    name: string,
    blob: LinkedBlob,
    upload: string | null,
    bytes?: Uint8Array | null,
  ): Promise<boolean>;
  /**
   * As `linkBlob`, for blobs that another repository has. Returns the digests of those that are linked now. `bytes` are of blobs that no
   * shard knows.
   */
  linkBlobs(name: string, blobs: (LinkedBlob & { bytes: Uint8Array | null })[]): Promise<Digest[]>;
  /** Deletes a blob, unless a manifest references it. */
  deleteBlob(digest: Digest): Promise<'deleted' | 'unknown' | { referencedBy: string }>;
  /** Removes a blob whose bytes under this key are lost, even if manifests reference it. The next push adds it again. */
  dropLostBlob(digest: Digest, key: string): Promise<void>;
  hasLink(link: LinkIdentity): boolean;
  /** Returns the ids of those links that the repository has, and refuses the others from now on. */
  settle(links: LinkIdentity[]): Promise<string[]>;
  /** Refuses to link what a cancelled upload may still bring. */
  refuseUpload(upload: string): Promise<void>;

  /** Without `withBytes`, `bytes` of the answer is empty. */
  manifestByTag(tag: string, withBytes: boolean): ManifestAnswer | NotFound;
  /**
   * What a tag led to at a time (Unix time, ms). A deleted manifest can then be read by its digest, with what it names, for an hour.
   * 'past': the time is too long ago.
   */
  manifestByTime(tag: string, at: number, withBytes: boolean): ManifestAnswer | NotFound | 'past';
  /** Without `withBytes`, `bytes` of the answer is empty. */
  manifestByDigest(digest: Digest, withBytes: boolean): ManifestAnswer | NotFound;
  /**
   * Writes a manifest with its references, its place among the referrers, its tags and their history: all or nothing. Unless
   * `sparse`, nothing is written if references are missing.
   */
  putManifest(name: string, put: ManifestPut, sparse: boolean, change?: Change): Promise<PutAnswer>;
  /** Deletes a manifest with its tags and its untagged referrers. The children of an index stay. */
  deleteManifest(digest: Digest, change?: Change): Promise<DeleteAnswer>;
  /** Deletes a tag and leaves its manifest. */
  deleteTag(tag: string, change?: Change): Promise<DeleteAnswer>;
  /**
   * Deletes tags and manifests, or everything, with what only they need: manifests without another tag, children, referrers and
   * signatures. Null if the repository does not exist. Lifecycle policies count, unless retention deletes.
   */
  delete(removal: Removal, options: RemovalOptions): Promise<Removed | Refused | null>;
  /**
   * In bytes: what a deletion would free of blobs with digests after `after`. Goes on after `next`, until that is null. `delete` itself
   * says null where more must be asked.
   */
  freedBytes(removal: Removal, after: string): Promise<{ bytes: number; next: string | null }>;
  /** Deletions that can be undone, before an id, newest first; null if the repository does not exist. */
  deletions(before: string | null, count: number): Listing<Deletion> | null;
  /** Restores a deletion, or a tag with its manifest. */
  restore(
    name: string,
    what: Restoration,
    options: RestoreOptions,
  ): Promise<Restored | NotRestored | Refused>;
  /** Deletes for good what a deletion has deleted. Returns null if there is no such deletion. */
  purge(deletion: string, dryRun: boolean): Promise<Deletion | null>;
  /** Moves of a tag, or of all tags (null), before a move, newest first; null if the repository is unknown. */
  history(tag: string | null, before: MovePlace | null, count: number): Listing<TagMove> | null;
  /** Tags after `last` that led to something else at one time than at another (Unix time, ms). 'past': a time is too long ago. */
  diff(from: number, to: number, count: number, last: string | null): Listing<TagDiff> | null | 'past';

  /** Up to `count` tags after `last`, in lexical order; null if the repository does not exist. */
  tags(count: number, last: string | null): Listing<string> | null;
  /** Up to `count` tags of a manifest, in lexical order. */
  tagsOf(digest: Digest, count: number): string[];
  /** The manifests that refer to a subject, by digest, as many as fit a page. */
  referrers(subject: Digest, artifactType: string | null, last: string | null): Listing<Descriptor>;

  /** Everything that belongs to an image, for a promotion. 'too large': the image alone is more than a promotion copies. */
  promotionTree(image: PromotedImage, withReferrers: boolean): PromotionTree | NotFound | 'too large';
  /** The manifests of these that are not deleted. */
  manifestCopies(digests: Digest[]): ManifestCopy[];
  /** The bytes of the first of these small blobs, as many as one answer may have. */
  inlineCopies(digests: Digest[]): { digest: Digest; bytes: Uint8Array }[];
  /** What this repository has of an image that is to be promoted here. */
  promotionTarget(question: PromotionQuestion, by: Author): Promise<PromotionTarget>;
  /** Writes the manifests of an image and its tags: all or nothing. Unless `sparse`, nothing is written if references are missing. */
  promote(name: string, put: PromotionPut, sparse: boolean, change: Change): Promise<PromotionAnswer>;

  /** Takes the lifecycle policies that match its name. Older ones than it knows are ignored. */
  setPolicies(told: EffectivePolicies): Promise<void>;
  /** Null if it does not exist, or has not been told yet. */
  policies(): EffectivePolicies | null;
  /** What it uses, and of its quotas; null if it does not exist. */
  usage(): { usage: RepositoryUsage; quotas: QuotaUse[] } | null;
  /** Why a quota refuses a blob of this size (bytes), which no manifest could name then; null if none does. */
  refusesBlob(digest: Digest | null, size: number): string | null;
  /** Records pulls that were answered without asking the repository: tags and digests. */
  pulled(references: string[]): void;
  /**
   * Up to `count` tags after `last`, in lexical order, with their verdicts: of the policies that are given, or of its own. Null if it does
   * not exist.
   */
  retention(
    policies: LifecyclePolicy[] | null,
    count: number,
    last: string | null,
  ): Promise<JudgedPage | null>;

  /** The latest plan, with up to `count` tags after as many others. Null if the repository does not exist. */
  plan(after: number, count: number): PlanAnswer | null;
  /** Null if there is no plan of this id that can be changed so. `id` null is the open plan. */
  actOnPlan(action: PlanAction, id: string | null, by: Author): Promise<Plan | null>;

  /** For the consistency check: a page of blobs in the store, and of what manifests miss. `from` is `next` of the page before, or null. */
  inventory(from: InventoryPlace | null, count: number): Inventory<KnownBlob | MissingName>;
  /** Those of the uuids whose content a blob has. */
  blobsAmong(ids: string[]): string[];
  /** Whether it has a link, or has removed it and its shard may not know yet. */
  hasOrReleases(link: LinkIdentity): boolean;
  /** Whether a manifest that is not deleted names a blob that must be there, and is not. */
  isMissing(manifest: Digest, digest: Digest): boolean;
}
