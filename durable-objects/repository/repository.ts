/** The class of the Repository objects. What belongs together changes in one transaction. */
import { DurableObject } from 'cloudflare:workers';
import type { Env } from '../../worker/env.ts';
import type { Plan, PlanAction } from '../../worker/lifecycle/plan.ts';
import { type EffectivePolicies, isRetention, type LifecyclePolicy } from '../../worker/lifecycle/policy.ts';
import {
  crossedText,
  leftOf,
  type QuotaUse,
  refusedBlob,
  refusedImage,
  refusedManifest,
} from '../../worker/lifecycle/quota.ts';
import { changed } from '../../worker/memory/answers.ts';
import type { Inventory, InventoryPlace, KnownBlob, MissingName } from '../../worker/objects/check.ts';
import type {
  ManifestCopy,
  PromotedImage,
  PromotionAnswer,
  PromotionPut,
  PromotionQuestion,
  PromotionTarget,
  PromotionTree,
} from '../../worker/objects/promotion.ts';
import type {
  ArrivingBlob,
  Asked,
  BlobAnswer,
  DeleteAnswer,
  JudgedPage,
  LinkedBlob,
  LinkIdentity,
  Looked,
  ManifestAnswer,
  NotFound,
  PlanAnswer,
  PutAnswer,
  Refused,
  RepositoryObject,
  RepositoryUsage,
  SilentUpload,
} from '../../worker/objects/repository.ts';
import type { Descriptor } from '../../worker/oci/descriptor.ts';
import { algorithmOf, type Digest } from '../../worker/oci/digest.ts';
import { UPLOAD_LIFETIME_MS } from '../../worker/oci/limits.ts';
import type { Listing } from '../../worker/oci/page.ts';
import type { ManifestPut } from '../../worker/oci/registry.ts';
import {
  type Act,
  type Author,
  type Change,
  type Deletion,
  type MovePlace,
  NO_AUTHOR,
  type NotRestored,
  type Removal,
  type RemovalOptions,
  type Removed,
  type Restoration,
  type Restored,
  type RestoreOptions,
  type TagDiff,
  type TagMove,
} from '../../worker/oci/upkeep.ts';
import { parseSettingOr } from '../../worker/settings.ts';
import { catalogOf, shardNameOf } from '../../worker/stubs.ts';
import { Alarm, RETRY_MS } from '../alarm.ts';
import { ABANDONED_UPLOAD_KEPT_MS, graceMs, retentionDelayMs, undoMs, VOID_LINK_MS } from '../graces.ts';
import { hasTables, migrate } from '../migrations.ts';
import { allRows, firstRow, pageOf } from '../rows.ts';
import { Abandoned } from './abandoned.ts';
import { Arriving } from './arriving.ts';
import { blobsAmong, inventoryOf, isMissing, isReleasing } from './inventory.ts';
import { Links } from './links.ts';
import type { Manifests } from './manifests.ts';
import { Past } from './past.ts';
import { Policies } from './policies.ts';
import { Promotions } from './promotions.ts';
import { Pulls } from './pulls.ts';
import { OverQuota, Quotas, recordCrossings } from './quotas.ts';
import type { FreedBlob } from './removals.ts';
import { Retention } from './retention.ts';
import { ROWS_OF_A_STEP, type RunHost, Runs } from './runs.ts';
import { REPOSITORY_MIGRATIONS } from './schema.ts';
import { Turns } from './turns.ts';
import { Untagged } from './untagged.ts';
import type { Usage } from './usage.ts';

/** Released links that one alarm reports to their shards. */
const RELEASED_AT_ONCE = 500;
const DAY_MS = 24 * 3600 * 1000;
/** Repositories that wait for the next day go on within this time. */
const WORK_SPREAD_MS = 10 * 60_000;
/** Blobs that a preview reads together, and shards that it asks at once. */
const BLOBS_AT_A_TIME = 5000;
const SHARDS_AT_A_TIME = 6;
/** Shards that one call asks. A request on the Free plan makes at most 50 calls. */
const SHARDS_ASKED_MAX = 40;
/** The latest blobs that are looked at to see whether a client is pushing. */
const LATEST_BLOBS = 100;
/** The author of a change that an older Worker asks for during a deploy. */
const UNKNOWN: Change = { ...NO_AUTHOR, why: 'push' };
const UNKNOWN_DELETE: Change = { ...NO_AUTHOR, why: 'delete' };

export class Repository extends DurableObject<Env> implements RepositoryObject {
  readonly #sql: SqlStorage;
  readonly #links: Links;
  readonly #past: Past;
  readonly #manifests: Manifests;
  readonly #abandoned: Abandoned;
  readonly #arriving: Arriving;
  readonly #policies: Policies;
  readonly #usage: Usage;
  readonly #quotas: Quotas;
  readonly #pulls: Pulls;
  readonly #promotions: Promotions;
  readonly #retention: Retention;
  readonly #runs: Runs;
  readonly #turns = new Turns();
  readonly #alarm: Alarm;
  readonly #graceMs: number;
  readonly #undoMs: number;
  /** When to try again to notify the catalog and the shards (Unix time, ms). */
  #notifyAgainAt = 0;
  /** The latest message to the others. It does not fail. */
  #notifying: Promise<void> = Promise.resolve();
  /** When large deletions may go on (Unix time, ms). */
  #workAgainAt = 0;
  readonly #rowsPerDay: number;
  /** Whether manifests may be pushed before their blobs. */
  readonly #takesSparse: boolean;
  /** When the whole repository was deleted (Unix time, ms), if nothing was pushed since; undefined if it is not read yet. */
  #clearedAt: number | null | undefined;
  #hasTables: boolean | null = null;
  #name: string | null = null;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#sql = ctx.storage.sql;
    this.#graceMs = graceMs(env);
    this.#undoMs = undoMs(env);
    this.#rowsPerDay = parseSettingOr('BACKGROUND_ROWS_PER_DAY', env.BACKGROUND_ROWS_PER_DAY, 0);
    this.#takesSparse = parseSettingOr('SPARSE_MANIFESTS', env.SPARSE_MANIFESTS, false);
    this.#links = new Links(this.#sql, this.#graceMs);
    this.#past = new Past(this.#sql, this.#links, this.#undoMs, () => Untagged.after(this.#policies.list()));
    this.#manifests = this.#past.manifests;
    this.#abandoned = new Abandoned(this.#sql);
    this.#arriving = new Arriving(this.#sql);
    this.#policies = new Policies(this.#sql);
    this.#usage = this.#past.usage;
    this.#quotas = new Quotas(this.#policies, this.#usage);
    this.#pulls = new Pulls(this.#sql);
    this.#promotions = new Promotions(this.#sql, this.#links, this.#past);
    this.#retention = new Retention(this.#sql, this.#pulls, this.#past.trash);
    const host: RunHost = {
      policies: () => this.#policies.list(),
      reported: () => this.#reported(),
      change: (change) => this.#change(change),
      bytesOnlyHere: (blobs) => this.#bytesOnlyHere(blobs),
      deleted: async () => {
        this.#change(() => this.#setPresent(this.#isPresent()));
        await this.#afterRemoval();
      },
    };
    this.#runs = new Runs(this.#sql, this.#retention, this.#past, this.#pulls, host, retentionDelayMs(env));
    this.#alarm = new Alarm(ctx, { run: (now) => this.#cleanUp(now), nextDue: (now) => this.#nextDue(now) });
    if (this.#exists()) this.#alarm.check();
  }

  blob(digest: Digest): BlobAnswer | null {
    const now = Date.now();
    return this.#mayRead(digest, now) ? this.#readable(digest, now) : null;
  }

  look(digest: Digest): Looked {
    const now = Date.now();
    const blob = this.#mayRead(digest, now) ? this.#readable(digest, now) : null;
    if (blob === null) this.#abandoned.missed(digest, now);
    const exists = this.#exists();
    const abandonedAt = exists ? this.#abandoned.lastAt() : null;
    return { blob, abandonedAt, room: exists ? this.#quotas.room() : null };
  }

  async awaitTurn({ caller, digest, isDirect }: Asked, lookedAt: boolean): Promise<ArrivingBlob[]> {
    const arriving = lookedAt || !this.#exists() ? [] : this.#arriving.of([digest]);
    if (arriving.length === 0) await this.#turns.wait(caller, { digest, isDirect });
    return arriving;
  }

  async takeTurn(
    name: string,
    caller: string,
    named: Digest | null,
    upload: Omit<ArrivingBlob, 'digest'> | null,
  ): Promise<Digest | null> {
    const turn = this.#turns.take(caller);
    const isOrdinary = turn !== null && !turn.isDirect;
    const digest = isOrdinary ? null : (named ?? turn?.digest ?? null);
    if (upload === null || digest === null || algorithmOf(digest) !== 'sha256') return null;
    this.#create(name);
    await this.#alarm.ringBy(upload.expiresAt);
    return this.#arriving.add({ ...upload, digest }) ? digest : null;
  }

  uploadBegan(upload: string): void {
    this.#abandoned.begun(upload);
  }

  async recordAbandoned(name: string, uploads: SilentUpload[]): Promise<number | null> {
    this.#create(name);
    await this.#alarm.ringBy(Date.now() + ABANDONED_UPLOAD_KEPT_MS);
    const isNew = this.ctx.storage.transactionSync(() =>
      this.#abandoned.record(uploads, (digest) => this.#links.get(digest) !== null),
    );
    if (isNew) this.#announceAbandoned();
    return this.#abandoned.lastAt();
  }

  inlineBytes(digest: Digest): Uint8Array | null {
    return this.#mayRead(digest, Date.now()) ? this.#links.bytes(digest) : null;
  }

  async linkBlob(
    name: string,
    blob: LinkedBlob,
    upload: string | null,
    bytes: Uint8Array | null = null,
  ): Promise<boolean> {
    this.#create(name);
    const now = Date.now();
    // Set the alarm before writing: an alarm with nothing to do is harmless, a due row without an alarm is not.
    await this.#alarm.ringBy(now + this.#graceMs);
    const linked = this.#change(() => {
      if (this.#links.refuses(blob.link) || (upload !== null && this.#links.refuses(upload))) return false;
      this.#addLink(blob, bytes, now);
      this.#setPresent(true);
      if (this.#abandoned.arrived(blob.digest)) this.#announceAbandoned();
      this.#arriving.arrived(blob.digest);
      return true;
    });
    await this.#afterChange();
    return linked;
  }

  async linkBlobs(name: string, blobs: (LinkedBlob & { bytes: Uint8Array | null })[]): Promise<Digest[]> {
    this.#create(name);
    const now = Date.now();
    await this.#alarm.ringBy(now + this.#graceMs);
    let hasArrived = false;
    const linked = this.#change(() => {
      const good = blobs.filter(({ link }) => !this.#links.refuses(link));
      for (const { bytes, ...blob } of good) {
        this.#addLink(blob, bytes, now);
        if (this.#abandoned.arrived(blob.digest)) hasArrived = true;
        this.#arriving.arrived(blob.digest);
      }
      if (good.length > 0) this.#setPresent(true);
      return good.map(({ digest }) => digest);
    });
    if (hasArrived) this.#announceAbandoned();
    await this.#afterChange();
    return linked;
  }

  async deleteBlob(digest: Digest): Promise<'deleted' | 'unknown' | { referencedBy: string }> {
    if (!this.#isThere()) return 'unknown';
    const result = this.#change(() => {
      const blob = this.#links.get(digest);
      if (blob === null) return 'unknown';
      const referencedBy = this.#manifests.referencing(digest);
      if (referencedBy !== null) return { referencedBy };
      // What is in the trash may be restored, and needs the blob then.
      if (this.#links.referencedBy(digest) === null) this.#links.remove(blob);
      else this.#links.hide(digest, Date.now());
      this.#setPresent(this.#isPresent());
      return 'deleted';
    });
    await this.#afterChange();
    return result;
  }

  async dropLostBlob(digest: Digest, key: string): Promise<void> {
    if (!this.#exists()) return;
    const lost = this.#change(() => {
      const blob = this.#links.getAny(digest);
      if (blob === null || blob.key !== key) return false;
      this.#usage.ofBlob(digest, () => this.#links.remove(blob));
      this.#setPresent(this.#isPresent());
      return true;
    });
    if (lost) await this.#afterChange();
  }

  hasLink(link: LinkIdentity): boolean {
    return this.#exists() && this.#links.holds(link);
  }

  async settle(links: LinkIdentity[]): Promise<string[]> {
    const held = new Set(links.filter((link) => this.hasLink(link)).map(({ link }) => link));
    const others = links.map(({ link }) => link).filter((link) => !held.has(link));
    if (others.length > 0) await this.#refuse(others, VOID_LINK_MS);
    return [...held];
  }

  async refuseUpload(upload: string): Promise<void> {
    await this.#refuse([upload], 2 * UPLOAD_LIFETIME_MS);
  }

  manifestByTag(tag: string, withBytes: boolean): ManifestAnswer | NotFound {
    if (!this.#isThere()) return 'repository';
    const found = this.#manifests.byTag(tag, withBytes);
    // Some clients ask only with HEAD whether the image that they have is still that of the tag.
    if (found !== null) this.#pulled([tag]);
    return found ?? 'content';
  }

  manifestByTime(tag: string, at: number, withBytes: boolean): ManifestAnswer | NotFound | 'past' {
    if (!this.#exists()) return 'repository';
    const now = Date.now();
    if (at <= now - this.#undoMs) return 'past';
    return this.#change(() => this.#past.byTime(tag, at, withBytes, now)) ?? 'content';
  }

  manifestByDigest(digest: Digest, withBytes: boolean): ManifestAnswer | NotFound {
    if (!this.#exists()) return 'repository';
    const isThere = this.#isThere();
    const found = isThere ? this.#manifests.byDigest(digest, withBytes) : null;
    if (found !== null && withBytes) this.#pulled([digest]);
    return found ?? this.#lent(digest, withBytes) ?? (isThere ? 'content' : 'repository');
  }

  #lent(digest: Digest, withBytes: boolean): ManifestAnswer | null {
    if (!this.#past.trash.exists()) return null;
    return this.#change(() => this.#past.lent(digest, withBytes, Date.now()));
  }

  async putManifest(
    name: string,
    put: ManifestPut,
    sparse: boolean,
    change: Change = UNKNOWN,
  ): Promise<PutAnswer> {
    const { blobs, manifests } = put.manifest;
    // A blob that a client has pushed, or was told of, counts also if the whole repository was deleted since.
    const missing = this.#exists() ? this.#manifests.missing(put) : [...blobs, ...manifests];
    if (missing.length > 0 && !sparse)
      return { missing, arriving: this.#exists() ? this.#arriving.of(missing) : [], refused: null };
    this.#create(name);
    // A first manifest without blobs, and with one tag, is within every quota.
    const isMore = blobs.length > 0 || put.tags.length > 1;
    await this.#learnPolicies(name, () => (isMore ? [put.digest] : this.#manifests.moving(put)));
    const now = Date.now();
    const written = this.#changeWithin(name, change, () => {
      const refused = this.#policies.refusal(() => this.#manifests.moving(put), 'moved', change);
      if (refused !== null) return { refused, hasMoved: false };
      this.#past.removals.finish(put.digest);
      this.#manifests.write(put);
      const { actor, address, why } = change;
      const move = { actor, address, why, at: now, deletion: null };
      const moved = put.tags.map((tag) => {
        this.#past.removals.finishTag(tag);
        return this.#manifests.setTag(tag, put.digest, move);
      });
      this.#setPresent(true);
      return { refused: null, hasMoved: moved.includes(true) };
    });
    const { refused, hasMoved } =
      'overQuota' in written ? { refused: written.overQuota, hasMoved: false } : written;
    if (hasMoved) await this.#alarm.ringBy(this.#past.forgottenAt(now));
    const judgedAt = refused === null && put.tags.length > 0 ? this.#runs.pushed(now) : null;
    if (judgedAt !== null) await this.#alarm.ringBy(judgedAt);
    if (refused === null) await this.#afterChange();
    return { missing: [], arriving: [], refused };
  }

  async deleteManifest(digest: Digest, change: Change = UNKNOWN_DELETE): Promise<DeleteAnswer> {
    return this.#deleteOne({ manifests: [digest] }, change);
  }

  async deleteTag(tag: string, change: Change = UNKNOWN_DELETE): Promise<DeleteAnswer> {
    return this.#deleteOne({ tags: [tag] }, change);
  }

  async delete(removal: Removal, options: RemovalOptions): Promise<Removed | Refused | null> {
    if (!this.#isThere()) return null;
    const { removals } = this.#past;
    const going = removal.all ? null : removals.goingWith(removal, false);
    const freed = going === null ? null : removals.freedBy(going);
    const described = going === null ? removals.describeAll() : removals.describe(going);
    const hasSome = described.tagCount + described.manifestCount > 0;
    const bytes = freed === null ? removals.bytesOfAll() : sizeOf(freed);
    // Other repositories are asked before anything is deleted.
    const { bytes: onlyHere, next } = await this.#askShards(
      freed ?? removals.freedByAll('', BLOBS_AT_A_TIME),
    );
    const isWanted = !options.dryRun && hasSome;
    const deletion = isWanted ? await this.#remove(removal, bytes, options, options.deletion) : null;
    if (deletion !== null && deletion !== undefined && 'refused' in deletion) return deletion;
    const now = Date.now();
    return {
      ...described,
      deletion: deletion ?? null,
      bytes: next === null ? onlyHere : null,
      undoUntil: this.#undoMs === 0 ? null : now + this.#undoMs,
      freedBy: now + this.#undoMs + 2 * this.#graceMs,
    };
  }

  async freedBytes(removal: Removal, after: string): Promise<{ bytes: number; next: string | null }> {
    if (!this.#isThere()) return { bytes: 0, next: null };
    const { removals } = this.#past;
    const freed = removal.all
      ? removals.freedByAll(after, BLOBS_AT_A_TIME)
      : removals.freedBy(removals.goingWith(removal, false)).filter(({ digest }) => digest > after);
    return this.#askShards(freed);
  }

  deletions(before: string | null, count: number): Listing<Deletion> | null {
    if (!this.#exists()) return null;
    if (!this.#past.trash.exists()) return { entries: [], more: false };
    return pageOf(this.#past.deletions.list(before, Date.now(), count + 1), count);
  }

  history(tag: string | null, before: MovePlace | null, count: number): Listing<TagMove> | null {
    if (!this.#exists()) return null;
    const { history } = this.#past;
    const moves =
      tag === null
        ? history.moves(Date.now() - this.#undoMs, before, count + 1)
        : history.movesOf(tag, before?.seq ?? null, count + 1);
    return pageOf(moves, count);
  }

  diff(from: number, to: number, count: number, last: string | null): Listing<TagDiff> | null | 'past' {
    if (!this.#exists()) return null;
    if (Math.min(from, to) <= Date.now() - this.#undoMs) return 'past';
    return pageOf(this.#past.history.diff(from, to, last ?? '', count + 1), count);
  }

  async restore(
    name: string,
    what: Restoration,
    options: RestoreOptions,
  ): Promise<Restored | NotRestored | Refused> {
    if (!this.#exists()) return 'deletion' in what ? 'no deletion' : 'no such tag then';
    if (options.dryRun) return this.#change(() => this.#past.restore(what, options));
    this.#create(name);
    await this.#alarm.ringBy(Date.now() + this.#graceMs);
    await this.#learnPolicies(name, () => this.#past.movedBy(what, options));
    const restored = this.#change(() => {
      const refused = this.#policies.refusal(() => this.#past.movedBy(what, options), 'moved', options);
      if (refused !== null) return { refused };
      const answer = this.#past.restore(what, options);
      if (typeof answer === 'string') return answer;
      this.#sql.exec('UPDATE repository SET cleared_at = NULL WHERE cleared_at IS NOT NULL');
      this.#clearedAt = null;
      this.#setPresent(this.#isPresent());
      return answer;
    });
    await this.#afterRemoval();
    return restored;
  }

  async purge(deletion: string, dryRun: boolean): Promise<Deletion | null> {
    if (!this.#exists()) return null;
    const now = Date.now();
    if (!dryRun) await this.#alarm.ringBy(now + this.#graceMs);
    const purged = this.#change(() => this.#past.purge(deletion, dryRun));
    await this.#afterRemoval();
    return purged;
  }

  tags(count: number, last: string | null): Listing<string> | null {
    return this.#isThere() ? this.#manifests.tags(count, last) : null;
  }

  tagsOf(digest: Digest, count: number): string[] {
    return this.#isThere() ? this.#manifests.tagsOf(digest, count) : [];
  }

  referrers(subject: Digest, artifactType: string | null, last: string | null): Listing<Descriptor> {
    return this.#isThere()
      ? this.#manifests.referrers(subject, artifactType, last)
      : { entries: [], more: false };
  }

  promotionTree(image: PromotedImage, withReferrers: boolean): PromotionTree | NotFound | 'too large' {
    return this.#isThere() ? this.#promotions.tree(image, withReferrers) : 'repository';
  }

  manifestCopies(digests: Digest[]): ManifestCopy[] {
    return this.#isThere() ? this.#promotions.copies(digests) : [];
  }

  inlineCopies(digests: Digest[]): { digest: Digest; bytes: Uint8Array }[] {
    return this.#isThere() ? this.#promotions.inlineBytes(digests) : [];
  }

  async promotionTarget(question: PromotionQuestion, by: Author): Promise<PromotionTarget> {
    const { manifests, blobs, sizes, tags, digest } = question;
    if (!this.#isThere())
      return { manifests, blobs, tags: {}, tagsOfImage: [], attestation: null, refused: null };
    const found = this.#promotions.lacks(question, Date.now());
    const moving = tags.filter((tag) => (found.tags[tag] ?? digest) !== digest);
    const name = this.#nameOf();
    await this.#learnPolicies(name, () => [digest]);
    const refused = this.#policies.refusal(() => moving, 'moved', by);
    return { ...found, refused: refused ?? this.#refusedImage(name ?? '', sizes, found.blobs) };
  }

  async promote(name: string, put: PromotionPut, sparse: boolean, change: Change): Promise<PromotionAnswer> {
    this.#create(name);
    const moving = () => this.#manifests.moving({ digest: put.digest, tags: put.tags });
    await this.#learnPolicies(name, () => [put.digest]);
    const now = Date.now();
    const written = this.#changeWithin(name, change, () => {
      const refused = this.#policies.refusal(moving, 'moved', change);
      if (refused !== null) return { refused };
      const puts = this.#promotions.putsOf(put);
      const missing = this.#promotions.missing(puts, put);
      const lacksImage = missing.includes(put.digest);
      if (lacksImage || (missing.length > 0 && !sparse)) return { missing, copied: 0, hasMoved: false };
      const { actor, address, why, source = null } = change;
      const move = { actor, address, why, source, at: now, deletion: null };
      const hasMoved = this.#promotions.write(puts, put, move);
      this.#setPresent(true);
      return { missing: [], copied: puts.length, hasMoved };
    });
    if ('overQuota' in written) return { refused: written.overQuota };
    if ('refused' in written) return written;
    const { missing, copied, hasMoved } = written;
    if (hasMoved) await this.#alarm.ringBy(this.#past.forgottenAt(now));
    const judgedAt = hasMoved ? this.#runs.pushed(now) : null;
    if (judgedAt !== null) await this.#alarm.ringBy(judgedAt);
    await this.#afterChange();
    return { missing, copied };
  }

  async setPolicies(told: EffectivePolicies): Promise<void> {
    // Without a row there is nothing that policies could be about. A new repository gets them with its first message.
    if (!this.#exists() || this.#nameOf() === null) return;
    if (told.policies.some(isRetention)) await this.#alarm.ringBy(Date.now());
    this.#change(() => {
      if (this.#policies.set(told)) this.#runs.policiesChanged();
    });
  }

  /** After new policies, the tags are judged again, and untagged manifests are looked for. */
  async #judgeAgain(): Promise<void> {
    if (this.#policies.list().some(isRetention)) await this.#alarm.ringBy(Date.now());
    this.#change(() => this.#runs.policiesChanged());
  }

  policies(): EffectivePolicies | null {
    return this.#exists() ? this.#policies.get() : null;
  }

  usage(): { usage: RepositoryUsage; quotas: QuotaUse[] } | null {
    if (!this.#exists() || this.#nameOf() === null) return null;
    return {
      usage: { ...this.#usage.get(), isCounted: this.#usage.isCounted() },
      quotas: this.#quotas.uses(),
    };
  }

  refusesBlob(digest: Digest | null, size: number): string | null {
    const name = this.#exists() ? this.#nameOf() : null;
    const tightest = name === null ? null : this.#quotas.tightest();
    if (name === null || tightest === null || size <= leftOf(tightest)) return null;
    // It counts already.
    if (digest !== null && this.#links.get(digest) !== null && this.#manifests.referencing(digest) !== null)
      return null;
    return refusedBlob(name, size, tightest);
  }

  pulled(references: string[]): void {
    if (this.#exists()) this.#pulled(references);
  }

  async retention(
    policies: LifecyclePolicy[] | null,
    count: number,
    last: string | null,
  ): Promise<JudgedPage | null> {
    const name = this.#exists() ? this.#nameOf() : null;
    if (name === null) return null;
    const reported = await catalogOf(this.env).runningOf(name);
    return this.#retention.page(policies ?? this.#policies.list(), reported, Date.now(), count, last ?? '');
  }

  plan(after: number, count: number): PlanAnswer | null {
    if (!this.#exists()) return null;
    const { plans } = this.#runs;
    const plan = plans.latest();
    return plan === null || plan.state === 'making'
      ? { plan: null, tags: [] }
      : { plan, tags: plans.page(after, count) };
  }

  async actOnPlan(action: PlanAction, id: string | null, by: Author): Promise<Plan | null> {
    if (!this.#exists()) return null;
    const now = Date.now();
    await this.#alarm.ringBy(now);
    return this.#change(() => this.#runs.act(action, id, by.actor, now));
  }

  inventory(from: InventoryPlace | null, count: number): Inventory<KnownBlob | MissingName> {
    if (!this.#exists()) return { entries: [], next: null };
    // Nothing of a repository that was deleted is served, and manifests may miss blobs if the registry takes such.
    const isComplete = this.#isThere() && !this.#takesSparse;
    return inventoryOf(this.#sql, isComplete ? this.#manifests : null, from, count);
  }

  blobsAmong(ids: string[]): string[] {
    return this.#exists() ? blobsAmong(this.#sql, ids) : [];
  }

  hasOrReleases(link: LinkIdentity): boolean {
    return this.#exists() && (this.#links.holds(link) || isReleasing(this.#sql, link));
  }

  isMissing(manifest: Digest, digest: Digest): boolean {
    return (
      !this.#takesSparse && this.#isThere() && isMissing(this.#sql, this.#manifests, { manifest, digest })
    );
  }

  override async alarm(): Promise<void> {
    await this.#alarm.ring();
  }

  /** Removes what has expired, does a step of large deletions, and sends notifications that failed before. */
  async #cleanUp(now: number): Promise<void> {
    if (!this.#exists()) return;
    const mayWork = await this.#mayWork(now);
    const reported = mayWork && this.#past.isUntaggedDue(now) ? await this.#reported() : null;
    this.#change(() => {
      this.#links.removeExpired(now);
      this.#links.removeExpiredRefusals(now);
      this.#abandoned.removeExpired(now);
      this.#arriving.removeExpired(now);
      this.#past.sweep(now);
      this.#usage.fill();
      if (mayWork) this.#past.step(now);
      if (reported !== null) this.#past.collectUntagged(reported, now);
      this.#setPresent(this.#isPresent());
    });
    this.#forgetAnswers();
    await this.#notify();
    // Last, so that an error in it holds up nothing else.
    await this.#run(now);
    // A repository that is empty, and has notified all others, leaves nothing behind.
    if (this.#holdsSomething(now) || this.#nextDueBesidesPast(0) !== null) return;
    this.#hasTables = false;
    this.#name = null;
    this.#clearedAt = undefined;
    this.#abandoned.forget();
    this.#arriving.forget();
    this.#policies.forget();
    this.#pulls.forget();
    this.#retention.forget();
    this.#runs.forget();
    this.#past.trash.forget();
    this.#usage.forget();
    await this.ctx.storage.deleteAll();
  }

  #nextDue(now: number): number | null {
    if (!this.#exists()) return null;
    const hasWork = this.#past.rowsToWrite(now) > 0;
    const pastDue = this.#past.nextDue(now);
    const due = [
      this.#nextDueBesidesPast(now),
      hasWork ? Math.max(now, this.#workAgainAt) : null,
      this.#nextRun(now),
      // What is due now is work.
      pastDue === null || (hasWork && pastDue <= now) ? null : pastDue,
    ].filter((at) => at !== null);
    return due.length === 0 ? null : Math.min(...due);
  }

  #nextDueBesidesPast(now: number): number | null {
    const due = [
      this.#usage.isCounted() ? null : now,
      this.#hasToNotify() ? Math.max(now, this.#notifyAgainAt) : null,
      this.#links.nextExpiry(),
      this.#links.nextRefusalExpiry(),
      this.#abandoned.nextExpiry(),
      this.#arriving.nextExpiry(),
    ].filter((at) => at !== null);
    return due.length === 0 ? null : Math.min(...due);
  }

  /** Digests that clusters and hosts have reported as running. */
  async #reported(): Promise<Digest[]> {
    const name = this.#nameOf();
    return name === null ? [] : catalogOf(this.env).runningOf(name);
  }

  /** Whether the next step of large deletions may run today. If not, the alarm rings again on the next day. */
  async #mayWork(now: number): Promise<boolean> {
    return this.#mayWrite(this.#past.rowsToWrite(now), now);
  }

  async #mayWrite(rows: number, now: number): Promise<boolean> {
    if (this.#rowsPerDay === 0 || rows === 0) return true;
    if (await catalogOf(this.env).takeAllowance(rows, this.#rowsPerDay)) return true;
    this.#workAgainAt = (Math.floor(now / DAY_MS) + 1) * DAY_MS + Math.floor(Math.random() * WORK_SPREAD_MS);
    return false;
  }

  /** When the next step of the retention policies is due. An empty repository has none. */
  #nextRun(now: number): number | null {
    if (!this.#isThere()) return null;
    const due = this.#runs.nextDue(now);
    return due === null || !this.#runs.deletesNext(Math.max(now, due))
      ? due
      : Math.max(due, this.#workAgainAt);
  }

  async #run(now: number): Promise<void> {
    const due = this.#nextRun(now);
    if (due === null || due > now) return;
    if (this.#runs.deletesNext(now) && !(await this.#mayWrite(ROWS_OF_A_STEP, now))) return;
    await this.#runs.step(now);
  }

  /** As clients delete: a manifest that a tag leads to stays, and the children of an index stay. */
  async #deleteOne(removal: Removal, change: Change): Promise<DeleteAnswer> {
    if (!this.#isThere()) return 'repository';
    const deletion = await this.#remove(removal, 0, change, null, true);
    if (deletion === undefined) return 'content';
    return deletion !== null && 'refused' in deletion ? deletion : 'deleted';
  }

  /** Returns null if the deletion cannot be undone, and undefined if there is nothing to delete. */
  async #remove(
    removal: Removal,
    bytes: number,
    change: Change,
    joined: string | null,
    keepsChildren = false,
  ): Promise<Deletion | Refused | null | undefined> {
    const { removals } = this.#past;
    const goingNow = () => (removal.all ? null : removals.goingWith(removal, keepsChildren));
    await this.#learnPolicies(this.#nameOf(), () => removals.tagsOf(goingNow()));
    await this.#alarm.ringBy(Date.now() + Math.max(this.#undoMs, this.#graceMs));
    const deletion = this.#change(() => {
      const going = goingNow();
      if (going !== null && going.tags.size + going.manifests.size === 0) return undefined;
      // Retention has asked the policies itself.
      const refused =
        change.why === 'retention'
          ? null
          : this.#policies.refusal(() => removals.tagsOf(going), 'deleted', change);
      if (refused !== null) return { refused };
      const freed = going === null ? bytes : sizeOf(removals.freedBy(going));
      const made = this.#past.remove(removal, going, freed, change, joined);
      this.#clearedAt = undefined;
      this.#setPresent(going !== null && this.#isPresent());
      return made;
    });
    await this.#afterRemoval();
    return deletion;
  }

  async #afterRemoval(): Promise<void> {
    const now = Date.now();
    if (this.#past.rowsToWrite(now) > 0) await this.#alarm.ringBy(now);
    await this.#afterChange();
  }

  /**
   * In bytes: those of these blobs whose content no other repository links. Asks a few shards only: `next` is the digest after which to
   * go on, null if there are no more.
   */
  async #askShards(freed: FreedBlob[]): Promise<{ bytes: number; next: string | null }> {
    const blobs = freed.sort((one, other) => (one.digest < other.digest ? -1 : 1));
    const shards = new Set<string>();
    const some: FreedBlob[] = [];
    for (const blob of blobs) {
      shards.add(shardNameOf(this.env, blob.digest));
      if (shards.size > SHARDS_ASKED_MAX) break;
      some.push(blob);
    }
    const isLast = some.length === blobs.length && blobs.length < BLOBS_AT_A_TIME;
    return { bytes: await this.#bytesOnlyHere(some), next: isLast ? null : (some.at(-1)?.digest ?? null) };
  }

  /** In bytes: those of these blobs whose content no other repository links. */
  async #bytesOnlyHere(blobs: FreedBlob[]): Promise<number> {
    const repository = this.#nameOf();
    if (repository === null) return 0;
    const shards = [...Map.groupBy(blobs, ({ digest }) => shardNameOf(this.env, digest))];
    let bytes = 0;
    for (let at = 0; at < shards.length; at += SHARDS_AT_A_TIME) {
      const some = shards.slice(at, at + SHARDS_AT_A_TIME);
      const sums = await Promise.all(
        some.map(async ([shard, asked]) => {
          const contents = asked.map(({ digest, key }) => ({ digest, key }));
          const held = new Set(
            await this.env.BLOB_SHARD.getByName(shard).keysHeldElsewhere(repository, contents),
          );
          return sizeOf(asked.filter(({ key }) => !held.has(key)));
        }),
      );
      bytes += sums.reduce((sum, size) => sum + size, 0);
    }
    return bytes;
  }

  /** Why the blobs of an image that are not here do not fit. Those that are here, and that no manifest names, are counted when it is written. */
  #refusedImage(name: string, sizes: Record<Digest, number>, lacking: Digest[]): string | null {
    const tightest = this.#quotas.tightest();
    const bytes = lacking.reduce((sum, digest) => sum + (sizes[digest] ?? 0), 0);
    return tightest === null || bytes <= leftOf(tightest) ? null : refusedImage(name, bytes, tightest);
  }

  #addLink(blob: LinkedBlob, bytes: Uint8Array | null, now: number): void {
    const add = () => this.#links.add(blob, bytes, now);
    // A manifest names the blob before it is there if it was lost, or where manifests may be sparse.
    if (this.#links.referencedBy(blob.digest) === null) add();
    else this.#usage.ofBlob(blob.digest, add);
  }

  /** Changes something in one transaction. */
  #change<T>(change: () => T): T {
    try {
      return this.ctx.storage.transactionSync(() => {
        const result = change();
        this.#usage.flush();
        return result;
      });
    } catch (error) {
      this.#past.trash.forget();
      this.#runs.forget();
      this.#usage.forget();
      this.#clearedAt = undefined;
      throw error;
    }
  }

  /** As `#change`, unless a quota forbids it: then nothing is changed. */
  #changeWithin<T extends object>(
    name: string,
    { actor, address }: Act,
    change: () => T,
  ): T | { overQuota: string } {
    if (this.#quotas.exist()) while (!this.#usage.isCounted()) this.#change(() => this.#usage.fill());
    try {
      const { result, crossed } = this.#change(() => {
        const before = this.#quotas.before();
        const result = change();
        return { result, crossed: this.#quotas.hold(before) };
      });
      const texts = crossed.map(crossedText);
      if (texts.length > 0) this.ctx.waitUntil(recordCrossings(this.env, name, actor, address, texts));
      return result;
    } catch (error) {
      if (error instanceof OverQuota) return { overQuota: refusedManifest(name, error.use) };
      throw error;
    }
  }

  /** In a deleted repository, only blobs of what is pulled as it was can be read. */
  #mayRead(digest: Digest, now: number): boolean {
    return this.#isThere() || (this.#exists() && this.#past.trash.lendsBlob(digest, now));
  }

  #readable(digest: Digest, now: number): BlobAnswer | null {
    const blob = this.#links.find(digest, now);
    // What may be read for a while only is not remembered.
    return blob === null || this.#isThere() ? blob : { ...blob, safeUntil: now };
  }

  async #refuse(ids: string[], forMs: number): Promise<void> {
    this.#makeTables();
    const expiresAt = Date.now() + forMs;
    await this.#alarm.ringBy(expiresAt);
    this.#links.refuse(ids, expiresAt);
  }

  /** Whether there are rows that something may still need. */
  #holdsSomething(now: number): boolean {
    const query = 'SELECT EXISTS (SELECT 1 FROM manifests) OR EXISTS (SELECT 1 FROM blobs) AS something';
    return (
      firstRow<{ something: number }>(this.#sql, query)?.something === 1 || this.#past.holdsSomething(now)
    );
  }

  /**
   * Whether there are manifests, or blobs that a client has pushed and that no manifest names yet. Of blobs, the latest are looked at.
   * While a large deletion has steps left, the repository stays present, because many rows would have to be read.
   */
  #isPresent(): boolean {
    if (this.#isCleared()) return false;
    if (this.#past.trash.hasDepartures()) return true;
    const query = `SELECT EXISTS (SELECT 1 FROM manifests) OR EXISTS
      (SELECT 1 FROM (SELECT digest FROM expiries ORDER BY at DESC LIMIT ?) e JOIN blobs b ON b.digest = e.digest
       WHERE b.deleted_at IS NULL AND NOT EXISTS (SELECT 1 FROM named_by n WHERE n.digest = b.digest)) AS something`;
    return firstRow<{ something: number }>(this.#sql, query, LATEST_BLOBS)?.something === 1;
  }

  #setPresent(present: boolean): void {
    this.#sql.exec(
      'UPDATE repository SET present = ?1, version = version + 1 WHERE present <> ?1',
      present ? 1 : 0,
    );
    if (!present || !this.#isCleared()) return;
    this.#sql.exec('UPDATE repository SET cleared_at = NULL');
    this.#clearedAt = null;
  }

  /** Whether the whole repository was deleted, and nothing was pushed since. */
  #isCleared(): boolean {
    // Nothing is deleted without tables of the trash.
    if (!this.#past.trash.exists()) return false;
    const query = 'SELECT cleared_at AS at FROM repository';
    this.#clearedAt ??= firstRow<{ at: number | null }>(this.#sql, query)?.at ?? null;
    return this.#clearedAt !== null;
  }

  /** Whether the repository exists, and is not deleted. */
  #isThere(): boolean {
    return this.#exists() && !this.#isCleared();
  }

  /** Notes pulls, and writes them after the answer. */
  #pulled(references: string[]): void {
    const now = Date.now();
    const isFirst = references.map((reference) => this.#pulls.note(reference, now)).includes(true);
    if (isFirst) this.ctx.waitUntil(this.#writePulls());
  }

  async #writePulls(): Promise<void> {
    await scheduler.wait(0);
    if (this.#exists()) this.#pulls.write();
  }

  /** Asks the catalog for the policies if it has not told of them yet, and there are `tags` that they may be about. */
  async #learnPolicies(name: string | null, tags?: () => Iterable<string>): Promise<void> {
    const isKnown = () => name === null || this.#policies.get() !== null;
    if (isKnown() || tags?.()[Symbol.iterator]().next().done) return;
    // The answer to the first message of a new repository has them.
    await this.#notifying;
    if (name === null || isKnown()) return;
    if (this.#policies.set(await catalogOf(this.env).policiesOf(name))) await this.#judgeAgain();
  }

  /** Drops the answers that the isolate remembers, and notifies the others. The alarm repeats a notification that fails. */
  async #afterChange(): Promise<void> {
    this.#forgetAnswers();
    if (!this.#hasToNotify()) return;
    await this.#alarm.ringBy(Date.now() + RETRY_MS);
    this.#notifying = this.#notify();
    this.ctx.waitUntil(this.#notifying);
  }

  #forgetAnswers(): void {
    const name = this.#nameOf();
    if (name !== null) changed(name);
  }

  /** Null if nothing was ever written. */
  #nameOf(): string | null {
    this.#name ??= firstRow<{ name: string }>(this.#sql, 'SELECT name FROM repository')?.name ?? null;
    return this.#name;
  }

  /** Whether the shards or the catalog do not know of a change yet. */
  #hasToNotify(): boolean {
    const query = `SELECT 1 WHERE EXISTS (SELECT 1 FROM released_links)
      OR EXISTS (SELECT 1 FROM repository WHERE announced < version)`;
    return allRows(this.#sql, query).length > 0;
  }

  async #notify(): Promise<void> {
    try {
      await Promise.all([this.#notifyCatalog(), this.#notifyShards()]);
      this.#notifyAgainAt = 0;
    } catch (error) {
      console.error('a repository could not notify the catalog or a shard, and will try again', error);
      this.#notifyAgainAt = Date.now() + RETRY_MS;
    }
  }

  async #notifyCatalog(): Promise<void> {
    const row = firstRow<{ name: string; present: number; version: number }>(
      this.#sql,
      'SELECT name, present, version FROM repository WHERE announced < version',
    );
    if (row === null) return;
    const { name, present, version } = row;
    const told = await catalogOf(this.env).announce(name, present === 1, version, this.#policies.revision());
    // One statement, so that a new repository writes one row.
    const policies = this.#policies.learn(told ?? null);
    this.#sql.exec(
      'UPDATE repository SET announced = MAX(announced, ?), policies = COALESCE(?, policies)',
      version,
      policies,
    );
    if (policies !== null) await this.#judgeAgain();
  }

  /** If this fails, the catalog hears of it with the next change, or drops what it has when that expires. */
  #announceAbandoned(): void {
    const name = this.#nameOf();
    if (name === null) return;
    this.ctx.waitUntil(
      catalogOf(this.env)
        .announceAbandoned(name, this.#abandoned.summary())
        .catch((error: unknown) => {
          console.error('a repository could not tell the catalog of its abandoned uploads', error);
        }),
    );
  }

  /** One call for each shard. */
  async #notifyShards(): Promise<void> {
    const released = this.#links.released(RELEASED_AT_ONCE);
    const repository = this.#nameOf();
    if (released.length === 0 || repository === null) return;
    const shards = Map.groupBy(released, (link) => shardNameOf(this.env, link.digest));
    await Promise.all(
      [...shards].map(async ([shard, links]) => {
        await this.env.BLOB_SHARD.getByName(shard).release(links.map((link) => ({ ...link, repository })));
        this.#links.forgetReleased(links.map(({ link }) => link));
      }),
    );
  }

  /** A repository that was never written to has no tables, so reading a made-up name stores nothing. */
  #exists(): boolean {
    if (this.#hasTables === null && hasTables(this.#sql)) this.#makeTables();
    this.#hasTables ??= false;
    return this.#hasTables;
  }

  #makeTables(): void {
    if (this.#hasTables !== true) migrate(this.ctx.storage, REPOSITORY_MIGRATIONS);
    this.#hasTables = true;
  }

  #create(name: string): void {
    if (this.#name !== null) return;
    this.#makeTables();
    // A repository of this name may have existed before and deleted itself. The time is a version above all that it announced.
    this.#sql.exec(
      'INSERT INTO repository (id, name, present, version, announced) VALUES (1, ?1, 0, ?2, ?2) ON CONFLICT DO NOTHING',
      name,
      Date.now(),
    );
    this.#name = name;
  }
}

function sizeOf(blobs: FreedBlob[]): number {
  return blobs.reduce((sum, { size }) => sum + size, 0);
}
