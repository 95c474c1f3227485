/**
 * Promotions: what the repository of an image says about it, and what the repository that gets it writes. Every method is one step of a
 * transaction that `Repository` opens.
 */
import type { StoredBlob } from '../../worker/objects/blob-shard.ts';
import type {
  ManifestCopy,
  PromotedImage,
  PromotedManifest,
  PromotionPut,
  PromotionQuestion,
  PromotionTarget,
  PromotionTree,
} from '../../worker/objects/promotion.ts';
import type { NotFound } from '../../worker/objects/repository.ts';
import type { Digest } from '../../worker/oci/digest.ts';
import { type Manifest, parseManifest, type StoredManifest } from '../../worker/oci/manifest.ts';
import type { ManifestPut } from '../../worker/oci/registry.ts';
import { allRows, firstRow } from '../rows.ts';
import type { Move } from './history.ts';
import type { Links } from './links.ts';
import type { Past } from './past.ts';

/** Manifests of one image, with all that refers to them. They are written in one transaction. */
const PROMOTED_MANIFESTS_MAX = 2500;
/** Their bytes, which are in memory together. */
const PROMOTED_MANIFEST_BYTES_MAX = 16 * 1024 * 1024;
/** Blobs of one image. */
const PROMOTED_BLOBS_MAX = 20_000;
/** Referrers of one manifest that are copied: the first ones in the order of the list of referrers. */
const PROMOTED_REFERRERS_MAX = 1000;
/** Manifests that one query is about. */
const MANIFESTS_AT_A_TIME = 500;
/** Bytes of small blobs that one answer has. */
const INLINE_BYTES_MAX = 8 * 1024 * 1024;
/** Tags of an image that are compared with those that a caller may set. */
const TAGS_COMPARED = 100;
/** The tags that cosign gives to what belongs to a manifest. */
const COSIGN_SUFFIXES = ['sig', 'att', 'sbom'];

type Found = StoredManifest & { subject: Digest | null };

export class Promotions {
  readonly #sql: SqlStorage;
  readonly #links: Links;
  readonly #past: Past;

  constructor(sql: SqlStorage, links: Links, past: Past) {
    this.#sql = sql;
    this.#links = links;
    this.#past = past;
  }

  /** Everything that belongs to an image. 'too large': the image alone is more than a promotion copies. */
  tree({ tag, digest }: PromotedImage, withReferrers: boolean): PromotionTree | NotFound | 'too large' {
    const tagged = tag === null ? null : (this.#past.manifests.byTag(tag, false)?.digest ?? null);
    const root = digest ?? tagged;
    const image = root === null ? null : this.#find(root);
    if (image === null) return 'content';
    const found = new Map<Digest, PromotedManifest>();
    const bytes = { left: PROMOTED_MANIFEST_BYTES_MAX };
    if (!this.#addClosure(image, null, false, found, bytes)) return 'too large';
    const more = withReferrers ? this.#addReferrers(found, bytes) : [];
    const blobs = this.#blobsOf([...found.keys()]);
    return blobs === null
      ? 'too large'
      : {
          image: stored(image),
          isTagged: tagged === image.digest,
          manifests: [...found.values()],
          blobs,
          more,
        };
  }

  /** Manifests that are not deleted, with their bytes. */
  copies(digests: Digest[]): ManifestCopy[] {
    const found = digests.map((digest) => this.#past.manifests.byDigest(digest, true));
    return found.filter((manifest) => manifest !== null);
  }

  /** The bytes of small blobs of one machine: of the first ones, as many as one answer may have. */
  inlineBytes(digests: Digest[]): { digest: Digest; bytes: Uint8Array }[] {
    const found: { digest: Digest; bytes: Uint8Array }[] = [];
    let left = INLINE_BYTES_MAX;
    for (const digest of digests) {
      const bytes = this.#links.bytes(digest);
      if (bytes === null) continue;
      left -= bytes.length;
      if (left < 0 && found.length > 0) break;
      found.push({ digest, bytes });
    }
    return found;
  }

  /** What this repository has of an image. Expiries of blobs that are near are put off. */
  lacks(
    { digest, manifests, blobs, tags, signatureTags, attests }: PromotionQuestion,
    now: number,
  ): Omit<PromotionTarget, 'refused'> {
    const live = this.#past.manifests;
    const there = [...tags, ...signatureTags].flatMap((tag) => {
      const found = live.byTag(tag, false);
      return found === null ? [] : [[tag, found.digest] as const];
    });
    return {
      manifests: manifests.filter((one) => live.byDigest(one, false) === null),
      blobs: blobs.filter((one) => this.#links.find(one, now) === null),
      tags: Object.fromEntries(there),
      tagsOfImage: live.tagsOf(digest, TAGS_COMPARED + 1),
      attestation: attests === null ? null : this.#attestation(digest, attests),
    };
  }

  /** The manifests that are to be written, without those that are here. */
  putsOf({ manifests }: PromotionPut): ManifestPut[] {
    return manifests
      .filter(({ digest }) => this.#past.manifests.byDigest(digest, false) === null)
      .map(({ digest, mediaType, bytes }) => {
        const manifest: Manifest = parseManifest(bytes, mediaType);
        return { digest, bytes, manifest, tags: [] };
      });
  }

  /** What is needed and not here. */
  missing(puts: ManifestPut[], { digest }: PromotionPut): Digest[] {
    const coming = new Set(puts.map((put) => put.digest));
    const named = puts.flatMap((put) => this.#past.manifests.missing(put));
    const isThere = coming.has(digest) || this.#past.manifests.byDigest(digest, false) !== null;
    return [...new Set([...named, ...(isThere ? [] : [digest])])].filter((one) => !coming.has(one));
  }

  /** Writes all of it. Returns whether a tag led to something else before. */
  write(puts: ManifestPut[], { digest, tags, signatures }: PromotionPut, move: Move): boolean {
    const { manifests, removals } = this.#past;
    for (const put of puts) {
      removals.finish(put.digest);
      manifests.write(put);
    }
    const kept = Object.entries(signatures).filter(([tag]) => manifests.byTag(tag, false) === null);
    const moved = [...kept, ...tags.map((tag) => [tag, digest] as const)].map(([tag, to]) => {
      removals.finishTag(tag);
      return manifests.setTag(tag, to, move);
    });
    return moved.includes(true);
  }

  /** Adds a manifest and its children. False if they are too many. */
  #addClosure(
    first: Found,
    tag: string | null,
    isReferrer: boolean,
    found: Map<Digest, PromotedManifest>,
    bytes: { left: number },
  ): boolean {
    const added: Found[] = [];
    const seen = new Set<Digest>();
    const queue = [first];
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      if (seen.has(next.digest) || found.has(next.digest)) continue;
      seen.add(next.digest);
      added.push(next);
      if (found.size + added.length > PROMOTED_MANIFESTS_MAX) return false;
      queue.push(...this.#childrenOf(next));
    }
    const size = added.reduce((sum, manifest) => sum + manifest.size, 0);
    if (size > bytes.left) return false;
    bytes.left -= size;
    for (const manifest of added.reverse())
      found.set(manifest.digest, { ...stored(manifest), isReferrer, tag: manifest === first ? tag : null });
    return true;
  }

  /** Adds what refers to the manifests, and what refers to that. Returns the manifests of which referrers are left out. */
  #addReferrers(found: Map<Digest, PromotedManifest>, bytes: { left: number }): Digest[] {
    const more: Digest[] = [];
    // The map grows meanwhile, and what is added is looked at too.
    for (const { digest } of found.values()) {
      let isCut = false;
      for (const suffix of COSIGN_SUFFIXES) {
        const tag = `${digest.replace(':', '-')}.${suffix}`;
        const signature = this.#past.manifests.byTag(tag, false);
        const manifest = signature === null ? null : this.#find(signature.digest);
        if (manifest !== null && !this.#addClosure(manifest, tag, true, found, bytes)) isCut = true;
      }
      const referrers = allRows<Found>(
        this.#sql,
        `SELECT m.digest, m.media_type AS mediaType, m.size, m.subject FROM manifests m
         WHERE m.subject = ? AND ${this.#past.trash.live('m')} ORDER BY m.digest LIMIT ?`,
        digest,
        PROMOTED_REFERRERS_MAX + 1,
      );
      if (referrers.length > PROMOTED_REFERRERS_MAX) isCut = true;
      for (const referrer of referrers.slice(0, PROMOTED_REFERRERS_MAX))
        if (!this.#addClosure(referrer, null, true, found, bytes)) isCut = true;
      if (isCut) more.push(digest);
    }
    return more;
  }

  /** Null if they are too many. */
  #blobsOf(manifests: Digest[]): StoredBlob[] | null {
    const found = new Map<Digest, StoredBlob>();
    for (let at = 0; at < manifests.length; at += MANIFESTS_AT_A_TIME) {
      const some = manifests.slice(at, at + MANIFESTS_AT_A_TIME);
      const rows = allRows<StoredBlob>(
        this.#sql,
        `SELECT b.digest, b.key, b.size FROM blobs b WHERE b.deleted_at IS NULL AND b.digest IN
           (SELECT j.value FROM manifest_names n, json_each(n.digests) j
            WHERE n.manifest IN (SELECT value FROM json_each(?)))`,
        JSON.stringify(some),
      );
      for (const blob of rows) found.set(blob.digest, blob);
      if (found.size > PROMOTED_BLOBS_MAX) return null;
    }
    return [...found.values()];
  }

  #childrenOf({ digest, subject }: Found): Found[] {
    return allRows<Found>(
      this.#sql,
      `SELECT m.digest, m.media_type AS mediaType, m.size, m.subject
       FROM json_each(?) n JOIN manifests m ON m.digest = n.value
       WHERE ${this.#past.trash.live('m')} AND m.digest IS NOT ?`,
      JSON.stringify(this.#past.manifests.namesOf(digest)),
      subject,
    );
  }

  #find(digest: Digest): Found | null {
    return firstRow<Found>(
      this.#sql,
      `SELECT m.digest, m.media_type AS mediaType, m.size, m.subject FROM manifests m
       WHERE m.digest = ? AND ${this.#past.trash.live('m')}`,
      digest,
    );
  }

  /** A referrer with all of these annotations. */
  #attestation(subject: Digest, annotations: Record<string, string>): Digest | null {
    const row = firstRow<{ digest: Digest }>(
      this.#sql,
      `SELECT m.digest FROM manifests m WHERE m.subject = ?1 AND ${this.#past.trash.live('m')}
         AND NOT EXISTS (SELECT 1 FROM json_each(?2) a WHERE NOT EXISTS
           (SELECT 1 FROM json_each(m.annotations) o WHERE o.key = a.key AND o.value = a.value)) LIMIT 1`,
      subject,
      JSON.stringify(annotations),
    );
    return row?.digest ?? null;
  }
}

function stored({ digest, mediaType, size }: StoredManifest): StoredManifest {
  return { digest, mediaType, size };
}
