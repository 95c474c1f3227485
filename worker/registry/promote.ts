/**
 * Promotes an image to another repository. Its blobs get links there, as by mounts, and then its manifests and tags are written in one
 * transaction. Only the manifests are copied.
 *
 * A step asks both repositories again and does what is left to do. So a step may be repeated at any time, and one that stops leaves only
 * links that expire.
 */
import { inlineKey, isInlineKey } from '../blobs/storage-key.ts';
import type { Env } from '../env.ts';
import { memory } from '../memory/budget.ts';
import type { StoredBlob } from '../objects/blob-shard.ts';
import type { ManifestCopy, PromotionTarget, PromotionTree } from '../objects/promotion.ts';
import type { LinkedBlob } from '../objects/repository.ts';
import { type Digest, digestOf } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import { matchesEach } from '../oci/pattern.ts';
import type { LeftOut, Promoted, Promotion } from '../oci/promotion.ts';
import type { Repository } from '../oci/registry.ts';
import type { Author } from '../oci/upkeep.ts';
import { hasRepository, repositoryOf, shardNameOf } from '../stubs.ts';
import {
  EMPTY_CONFIG,
  EMPTY_CONFIG_DIGEST,
  type Evidence,
  evidenceOf,
  statedBy,
} from './promotion-evidence.ts';
import { rememberHolder } from './small-holders.ts';

/**
 * Calls of one step: a request may make 50 on the Free plan (Cloudflare docs, "Workers: Limits"), and the guard and the audit log need
 * some of them.
 */
const CALLS_MAX = 38;
/** Shards that one step asks for links, and that it asks at once. */
const SHARDS_MAX = 24;
const SHARDS_AT_A_TIME = 6;
/** Links that one step asks a shard for. */
const LINKS_OF_A_SHARD = 2000;
/** Answers with small blobs that one step copies. */
const INLINE_ANSWERS_MAX = 4;
/** What writing an attestation costs: two blobs. */
const CALLS_OF_EVIDENCE = 8;
/** What a step needs at its end: the manifests, and to write them. */
const CALLS_OF_END = 2;
/** Tags of one image that are compared with those that a caller may set. */
const TAGS_COMPARED = 100;

/** What a step knows of an image. */
interface Known {
  tree: PromotionTree;
  there: PromotionTarget;
  /** The tags of cosign that are set -> their manifests. */
  signatures: Record<string, Digest>;
  leftOut: LeftOut[];
  source: string;
  /** The target has the empty config of an attestation, or gets it with the image. */
  hasEmptyConfig: boolean;
}

export class Promoter {
  readonly #env: Env;
  readonly #promotion: Promotion;
  readonly #by: Author;
  readonly #target: Repository;
  readonly #allowsSparse: boolean;
  #calls = 0;

  constructor(env: Env, promotion: Promotion, by: Author, target: Repository, allowsSparse: boolean) {
    this.#env = env;
    this.#promotion = promotion;
    this.#by = by;
    this.#target = target;
    this.#allowsSparse = allowsSparse;
  }

  async step(): Promise<Promoted> {
    const { tags, dryRun, attests } = this.#promotion;
    const known = await this.#look();
    const { tree, there } = known;
    if (there.refused !== null) throw new OciError('DENIED', { message: there.refused });
    const lacking = new Set(there.blobs);
    const wanted = tree.blobs.filter(({ digest }) => lacking.has(digest));
    if (dryRun) return this.#answer(known, { isDone: true, copied: there.manifests.length, linked: 0 });
    const linked = await this.#link(wanted);
    if (linked === 0 && wanted.length > 0) {
      throw new OciError('UNAVAILABLE', {
        message: `${wanted.length} blobs of the image could not be linked, because their content is being deleted: try again`,
        headers: { 'Retry-After': '1' },
      });
    }
    const hasAll = linked === wanted.length;
    const isSame = hasAll && this.#isThere(known);
    const calls = CALLS_OF_END + (attests ? CALLS_OF_EVIDENCE : 0);
    if (!hasAll || this.#calls + calls > CALLS_MAX)
      return this.#answer(known, { isDone: false, copied: 0, linked });
    if (isSame && (!attests || there.attestation !== null))
      return this.#answer(known, { isDone: true, copied: 0, linked, attestation: there.attestation });
    const evidence = attests ? await this.#evidence(known) : null;
    const copied = await this.#write(known, evidence, tags);
    if (copied === null) return this.#answer(known, { isDone: false, copied: 0, linked });
    const attestation = evidence?.manifest.digest ?? null;
    return this.#answer(known, { isDone: true, copied, linked, attestation });
  }

  /** What the source has, and what of it the target lacks. */
  async #look(): Promise<Known> {
    const { tags, attests, to } = this.#promotion;
    const whole = await this.#tree(true);
    const source = this.#nameOf(whole);
    const first = await this.#ask(whole, attests ? statedBy(source, tags) : null);
    const covered = this.#coversReferrers(whole, first);
    // The blobs of what is left out are not linked either.
    const tree = covered ? whole : await this.#tree(false);
    if (attests && !covered) {
      throw new OciError('DENIED', {
        message: `${to} has ${whole.image.digest} already, for other tags too, and access to some tags cannot attach an attestation to it: promote without one`,
      });
    }
    const leftOut: LeftOut[] = whole.more.map((what) => ({ what, why: 'referrers over the limit' }));
    if (!covered) leftOut.push({ what: whole.image.digest, why: 'referrers not covered' });
    const signatures: Record<string, Digest> = {};
    const dropped = new Set<Digest>();
    for (const { tag, digest } of tree.manifests) {
      if (tag === null || first.tags[tag] === digest) continue;
      const why =
        first.tags[tag] !== undefined ? 'tag is there' : this.#covers(tag) ? null : 'tag not covered';
      if (why === null) signatures[tag] = digest;
      else leftOut.push({ what: tag, why });
      if (why !== null) dropped.add(digest);
    }
    const lacking = new Set(first.manifests);
    const manifests = tree.manifests
      .map(({ digest }) => digest)
      .filter((digest) => lacking.has(digest) && !dropped.has(digest));
    const named = new Set(tree.blobs.map(({ digest }) => digest));
    const hasEmptyConfig = named.has(EMPTY_CONFIG_DIGEST) || !first.blobs.includes(EMPTY_CONFIG_DIGEST);
    const blobs = first.blobs.filter((digest) => named.has(digest));
    return { tree, there: { ...first, manifests, blobs }, signatures, leftOut, source, hasEmptyConfig };
  }

  async #tree(withReferrers: boolean): Promise<PromotionTree> {
    const { from, reference, digest: pinned } = this.#promotion;
    const tag = reference.kind === 'tag' ? reference.tag : null;
    const digest = reference.kind === 'tag' ? pinned : reference.digest;
    if (!(await hasRepository(this.#env, from))) throw noRepository(from);
    this.#calls++;
    const tree = await repositoryOf(this.#env, from).promotionTree({ tag, digest }, withReferrers);
    if (tree === 'repository') throw noRepository(from);
    if (tree === 'content') {
      if (pinned !== null) throw this.#isGone(pinned);
      throw new OciError('NOT_FOUND', { message: `${from} has no manifest ${tag ?? digest}` });
    }
    if (tree !== 'too large') return tree;
    throw new OciError('UNSUPPORTED', {
      message: `${from} ${tag ?? digest} is too large to promote: it has over 2,500 manifests, 16 MiB of them, or 20,000 blobs. Copy it with longshore copy`,
      status: 400,
    });
  }

  async #ask(
    { image, manifests, blobs }: PromotionTree,
    attests: Record<string, string> | null,
  ): Promise<PromotionTarget> {
    this.#calls++;
    const { to, tags } = this.#promotion;
    const question = {
      digest: image.digest,
      manifests: manifests.map(({ digest }) => digest),
      blobs: [...blobs.map(({ digest }) => digest), ...(attests === null ? [] : [EMPTY_CONFIG_DIGEST])],
      sizes: Object.fromEntries(blobs.map(({ digest, size }) => [digest, size])),
      tags,
      signatureTags: manifests.flatMap(({ tag }) => tag ?? []),
      attests,
    };
    return repositoryOf(this.#env, to).promotionTarget(question, this.#by);
  }

  /**
   * Whether referrers may come along. With access to some tags, a manifest that the target has already, for other tags too, gets none
   * (as for a push).
   */
  #coversReferrers(
    { image, manifests }: PromotionTree,
    { manifests: lacking, tagsOfImage }: PromotionTarget,
  ) {
    if (this.#promotion.pushes.length === 0) return true;
    const isNew = new Set(lacking);
    const own = manifests.filter(({ isReferrer }) => !isReferrer);
    return own.every(({ digest }) => {
      if (isNew.has(digest)) return true;
      const isTagged = tagsOfImage.length > 0 && tagsOfImage.length <= TAGS_COMPARED;
      return digest === image.digest && isTagged && tagsOfImage.every((tag) => this.#covers(tag));
    });
  }

  #covers(tag: string): boolean {
    return matchesEach(this.#promotion.pushes, tag);
  }

  /** Nothing is left to write. */
  #isThere({ tree, there, signatures }: Known): boolean {
    const isTagged = this.#promotion.tags.every((tag) => there.tags[tag] === tree.image.digest);
    return isTagged && there.manifests.length === 0 && Object.keys(signatures).length === 0;
  }

  /** Links blobs that the target lacks, as many as one step may. Returns how many. */
  async #link(wanted: StoredBlob[]): Promise<number> {
    const inline = wanted.filter(({ key }) => isInlineKey(key));
    const kept = wanted.filter(({ key }) => !isInlineKey(key));
    return (await this.#linkStored(kept)) + (await this.#copyInline(inline));
  }

  async #linkStored(wanted: StoredBlob[]): Promise<number> {
    if (wanted.length === 0) return 0;
    const { to } = this.#promotion;
    const shards = [...Map.groupBy(wanted, ({ digest }) => shardNameOf(this.#env, digest))].slice(
      0,
      SHARDS_MAX,
    );
    const linked: (LinkedBlob & { bytes: null })[] = [];
    for (let at = 0; at < shards.length; at += SHARDS_AT_A_TIME) {
      const some = shards.slice(at, at + SHARDS_AT_A_TIME);
      this.#calls += some.length;
      const answers = await Promise.all(
        some.map(async ([shard, blobs]) => {
          const asked = blobs
            .slice(0, LINKS_OF_A_SHARD)
            .map((blob) => ({ ...blob, link: crypto.randomUUID() }));
          const objects = await this.#env.BLOB_SHARD.getByName(shard).linkMany(to, asked);
          return asked.flatMap(({ digest, link }, n) => {
            const object = objects[n];
            return object ? [{ digest, key: object.key, size: object.size, link, bytes: null }] : [];
          });
        }),
      );
      linked.push(...answers.flat());
    }
    this.#calls++;
    return (await repositoryOf(this.#env, to).linkBlobs(to, linked)).length;
  }

  /** Copies small blobs of one machine, whose bytes are beside their links. */
  async #copyInline(wanted: StoredBlob[]): Promise<number> {
    const { from, to } = this.#promotion;
    let digests = wanted.map(({ digest }) => digest);
    let linked = 0;
    for (let n = 0; n < INLINE_ANSWERS_MAX && digests.length > 0; n++) {
      const copies = await repositoryOf(this.#env, from).inlineCopies(digests);
      if (copies.length === 0) break;
      const blobs = copies.map(({ digest, bytes }) => {
        const link = crypto.randomUUID();
        return { digest, key: inlineKey(to, digest), size: bytes.length, link, bytes };
      });
      linked += (await repositoryOf(this.#env, to).linkBlobs(to, blobs)).length;
      this.#calls += 2;
      const done = new Set(copies.map(({ digest }) => digest));
      for (const digest of done) rememberHolder(digest, to);
      digests = digests.filter((digest) => !done.has(digest));
    }
    return linked;
  }

  /** Makes an attestation, and stores its blobs. */
  async #evidence({ tree, source, hasEmptyConfig }: Known): Promise<Evidence> {
    const { to, tags } = this.#promotion;
    const evidence = await evidenceOf({
      image: tree.image,
      source,
      target: to,
      tags,
      actor: this.#by.actor,
      at: new Date(Date.now()),
    });
    for (const bytes of [...(hasEmptyConfig ? [] : [EMPTY_CONFIG]), evidence.statement]) {
      const upload = await this.#target.startUpload('sha256', null);
      const body = new Response(bytes as BodyInit).body;
      const chunk = { body, size: bytes.length, range: null, sender: this.#by.actor };
      await upload.commit(await digestOf('sha256', bytes), chunk);
    }
    return evidence;
  }

  /** Writes the manifests and the tags. Returns how many manifests; null if a blob must be linked again. */
  async #write(
    { tree, there, signatures, source }: Known,
    evidence: Evidence | null,
    tags: string[],
  ): Promise<number | null> {
    const { from, to } = this.#promotion;
    const lease = memory.lease();
    try {
      const sizes = new Map(tree.manifests.map(({ digest, size }) => [digest, size]));
      // Twice, because the message to the object is a copy.
      await lease.take(2 * there.manifests.reduce((sum, digest) => sum + (sizes.get(digest) ?? 0), 0));
      this.#calls += CALLS_OF_END;
      const copies: ManifestCopy[] =
        there.manifests.length === 0
          ? []
          : await repositoryOf(this.#env, from).manifestCopies(there.manifests);
      if (copies.length < there.manifests.length) throw this.#isGone(tree.image.digest);
      const manifests = [...copies, ...(evidence === null ? [] : [evidence.manifest])];
      const put = { digest: tree.image.digest, manifests, tags, signatures };
      const change = { ...this.#by, why: 'promote', source } as const;
      const answer = await repositoryOf(this.#env, to).promote(to, put, this.#allowsSparse, change);
      if ('refused' in answer) throw new OciError('DENIED', { message: answer.refused });
      const { missing, copied } = answer;
      if (missing.length === 0) return copied - (evidence === null ? 0 : 1);
      const known = new Set([...tree.blobs, ...tree.manifests].map(({ digest }) => digest));
      if (missing.every((digest) => known.has(digest))) return null;
      throw new OciError('MANIFEST_BLOB_UNKNOWN', {
        message: `${from} lacks ${missing.length} of what the image references: push it there again`,
        detail: { missing: missing.slice(0, 20) },
      });
    } finally {
      lease.end();
    }
  }

  #answer(
    { tree, there, leftOut, source }: Known,
    done: { isDone: boolean; copied: number; linked: number; attestation?: Digest | null },
  ): Promoted {
    const { digest } = tree.image;
    const { isDone, copied, linked, attestation = null } = done;
    return {
      isDone,
      digest,
      source,
      tags: this.#promotion.tags.map((tag) => ({ tag, digest, before: there.tags[tag] ?? null })),
      manifests: { total: tree.manifests.length, copied },
      blobs: { total: tree.blobs.length, linked, remaining: there.blobs.length - linked },
      bytes: tree.blobs.reduce((sum, { size }) => sum + size, 0),
      leftOut,
      attestation,
    };
  }

  /** The image as the history names it: by its tag, if that leads to it still. */
  #nameOf({ image, isTagged }: PromotionTree): string {
    const { from, reference } = this.#promotion;
    return reference.kind === 'tag' && isTagged ? `${from}:${reference.tag}` : `${from}@${image.digest}`;
  }

  #isGone(digest: Digest): OciError {
    return new OciError('CONFLICT', {
      message: `${this.#promotion.from} lost ${digest}, or a part of it, while it was promoted: nothing was tagged. Try again`,
    });
  }
}

/** As for a caller who may not pull it. */
function noRepository(name: string): OciError {
  return new OciError('NOT_FOUND', { message: `there is no repository ${name}` });
}
