/** What two Repository objects are asked during a promotion. `durable-objects/repository/promotions.ts` answers. */
import type { Digest } from '../oci/digest.ts';
import type { StoredManifest } from '../oci/manifest.ts';
import type { StoredBlob } from './blob-shard.ts';

/** The image in the source: what its tag leads to, or the digest. With a digest, the tag only says how it is named. */
export interface PromotedImage {
  tag: string | null;
  digest: Digest | null;
}

/** A manifest that belongs to an image. */
export interface PromotedManifest extends StoredManifest {
  /** It was found by what it refers to, and not by what the image references. */
  isReferrer: boolean;
  /** The tag that cosign gave it; null for others. */
  tag: string | null;
}

/** Everything that belongs to an image. */
export interface PromotionTree {
  image: StoredManifest;
  /** The tag leads to the image. */
  isTagged: boolean;
  /** With the image itself. */
  manifests: PromotedManifest[];
  /** What these reference and the source has. */
  blobs: StoredBlob[];
  /** Manifests with more referrers than are copied. */
  more: Digest[];
}

/** The manifests of an image, with their bytes. */
export type ManifestCopy = StoredManifest & { bytes: Uint8Array };

export interface PromotionQuestion {
  digest: Digest;
  manifests: Digest[];
  blobs: Digest[];
  /** Of these, in bytes. */
  sizes: Record<Digest, number>;
  /** The tags that are to lead to it. */
  tags: string[];
  /** The tags of cosign. */
  signatureTags: string[];
  /** The annotations of an attestation that says the same; null if there is to be none. */
  attests: Record<string, string> | null;
}

/** What the target has of an image. */
export interface PromotionTarget {
  /** The manifests and blobs that it lacks. */
  manifests: Digest[];
  blobs: Digest[];
  /** Tags that are there -> what they lead to. */
  tags: Record<string, Digest>;
  /** The tags that the image has here already, up to a number. */
  tagsOfImage: string[];
  /** An attestation that says the same. */
  attestation: Digest | null;
  /** A lifecycle policy forbids one of the tags: the message for the client. */
  refused: string | null;
}

export interface PromotionPut {
  digest: Digest;
  manifests: ManifestCopy[];
  tags: string[];
  /** Tags of cosign -> their manifests. Those that are there stay. */
  signatures: Record<string, Digest>;
}

/** `missing`: what is not in the target, so that nothing was written. `refused`: a lifecycle policy forbids it. */
export type PromotionAnswer = { missing: Digest[]; copied: number } | { refused: string };
