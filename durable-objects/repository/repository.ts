/** The class of the Repository objects. What belongs together changes in one transaction. */
import { DurableObject } from 'cloudflare:workers';
import type { Env } from '../../worker/env.ts';
import type { EffectivePolicies, LifecyclePolicy } from '../../worker/lifecycle/policy.ts';
import { changed } from '../../worker/memory/answers.ts';
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
  PutAnswer,
  RepositoryObject,
  SilentUpload,
} from '../../worker/objects/repository.ts';
import type { Descriptor } from '../../worker/oci/descriptor.ts';
import { algorithmOf, type Digest } from '../../worker/oci/digest.ts';
import { UPLOAD_LIFETIME_MS } from '../../worker/oci/limits.ts';
import type { Listing } from '../../worker/oci/page.ts';
import type { ManifestPut } from '../../worker/oci/registry.ts';
import { type Author, NO_AUTHOR } from '../../worker/oci/upkeep.ts';
import { catalogOf, shardNameOf } from '../../worker/stubs.ts';
import { Alarm, RETRY_MS } from '../alarm.ts';
import { ABANDONED_UPLOAD_KEPT_MS, UNREFERENCED_GRACE_MS, VOID_LINK_MS } from '../graces.ts';
import { hasTables, migrate } from '../migrations.ts';
import { allRows, firstRow } from '../rows.ts';
import { Abandoned } from './abandoned.ts';
import { Arriving } from './arriving.ts';
import { Links } from './links.ts';
import { Manifests } from './manifests.ts';
import { Policies } from './policies.ts';
import { Pulls } from './pulls.ts';
import { Retention } from './retention.ts';
import { REPOSITORY_MIGRATIONS } from './schema.ts';
import { Turns } from './turns.ts';

/** Released links that one alarm reports to their shards. */
const RELEASED_AT_ONCE = 500;

export class Repository extends DurableObject<Env> implements RepositoryObject {
  readonly #sql: SqlStorage;
  readonly #links: Links;
  readonly #manifests: Manifests;
  readonly #abandoned: Abandoned;
  readonly #arriving: Arriving;
  readonly #policies: Policies;
  readonly #pulls: Pulls;
  readonly #retention: Retention;
  readonly #turns = new Turns();
  readonly #alarm: Alarm;
  /** When to try again to notify the catalog and the shards (Unix time, ms). */
  #notifyAgainAt = 0;
  #hasTables: boolean | null = null;
  #name: string | null = null;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#sql = ctx.storage.sql;
    this.#links = new Links(this.#sql);
    this.#manifests = new Manifests(this.#sql);
    this.#abandoned = new Abandoned(this.#sql);
    this.#arriving = new Arriving(this.#sql);
    this.#policies = new Policies(this.#sql);
    this.#pulls = new Pulls(this.#sql);
    this.#retention = new Retention(this.#sql, this.#pulls);
    this.#alarm = new Alarm(ctx, { run: (now) => this.#cleanUp(now), nextDue: (now) => this.#nextDue(now) });
    if (this.#exists()) this.#alarm.check();
  }

  blob(digest: Digest): BlobAnswer | null {
    return this.#exists() ? this.#links.find(digest, Date.now()) : null;
  }

  look(digest: Digest): Looked {
    const now = Date.now();
    const blob = this.#exists() ? this.#links.find(digest, now) : null;
    if (blob === null) this.#abandoned.missed(digest, now);
    return { blob, abandonedAt: this.#exists() ? this.#abandoned.lastAt() : null };
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
    return this.#exists() ? this.#links.bytes(digest) : null;
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
    await this.#alarm.ringBy(now + UNREFERENCED_GRACE_MS);
    const linked = this.ctx.storage.transactionSync(() => {
      if (this.#links.refuses(blob.link) || (upload !== null && this.#links.refuses(upload))) return false;
      this.#links.add(blob, bytes, now);
      this.#setPresent(true);
      if (this.#abandoned.arrived(blob.digest)) this.#announceAbandoned();
      this.#arriving.arrived(blob.digest);
      return true;
    });
    await this.#afterChange();
    return linked;
  }

  async deleteBlob(digest: Digest): Promise<'deleted' | 'unknown' | { referencedBy: string }> {
    if (!this.#exists()) return 'unknown';
    const result = this.ctx.storage.transactionSync(() => {
      const blob = this.#links.get(digest);
      if (blob === null) return 'unknown';
      const referencedBy = this.#links.referencedBy(digest);
      if (referencedBy !== null) return { referencedBy };
      this.#links.remove(blob);
      this.#setPresent(this.#holdsSomething());
      return 'deleted';
    });
    await this.#afterChange();
    return result;
  }

  async dropLostBlob(digest: Digest, key: string): Promise<void> {
    if (!this.#exists()) return;
    const lost = this.ctx.storage.transactionSync(() => {
      const blob = this.#links.get(digest);
      if (blob === null || blob.key !== key) return false;
      this.#links.remove(blob);
      this.#setPresent(this.#holdsSomething());
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
    if (!this.#exists()) return 'repository';
    const found = this.#manifests.byTag(tag, withBytes);
    // Some clients ask only with HEAD whether the image that they have is still that of the tag.
    if (found !== null) this.#pulled([tag]);
    return found ?? 'content';
  }

  manifestByDigest(digest: Digest, withBytes: boolean): ManifestAnswer | NotFound {
    if (!this.#exists()) return 'repository';
    const found = this.#manifests.byDigest(digest, withBytes);
    if (found !== null && withBytes) this.#pulled([digest]);
    return found ?? 'content';
  }

  async putManifest(
    name: string,
    put: ManifestPut,
    sparse: boolean,
    by: Author = NO_AUTHOR,
  ): Promise<PutAnswer> {
    const { blobs, manifests } = put.manifest;
    const missing = this.#exists() ? this.#manifests.missing(put) : [...blobs, ...manifests];
    if (missing.length > 0 && !sparse)
      return { missing, arriving: this.#exists() ? this.#arriving.of(missing) : [], refused: null };
    this.#create(name);
    await this.#learnPolicies(name, () => this.#manifests.moving(put));
    const refused = this.ctx.storage.transactionSync(() => {
      const refusal = this.#policies.refusal(() => this.#manifests.moving(put), 'moved', by);
      if (refusal !== null) return refusal;
      this.#manifests.write(put);
      for (const tag of put.tags) this.#manifests.setTag(tag, put.digest, Date.now());
      this.#setPresent(true);
      return null;
    });
    if (refused === null) await this.#afterChange();
    return { missing: [], arriving: [], refused };
  }

  async deleteManifest(digest: Digest, by: Author = NO_AUTHOR): Promise<DeleteAnswer> {
    if (!this.#exists()) return 'repository';
    const now = Date.now();
    await this.#learnPolicies(this.#nameOf(), () => this.#manifests.tagsOf(digest, 1));
    await this.#alarm.ringBy(now + UNREFERENCED_GRACE_MS);
    const deleted = this.ctx.storage.transactionSync((): DeleteAnswer => {
      const refused = this.#policies.refusal(() => this.#manifests.allTagsOf(digest), 'deleted', by);
      if (refused !== null) return { refused };
      const named = this.#manifests.delete(digest, now);
      if (named === null) return 'content';
      this.#links.expire(named, now);
      this.#setPresent(this.#holdsSomething());
      return 'deleted';
    });
    if (deleted !== 'deleted') return deleted;
    if (this.#manifests.hasTagsToRemove()) await this.#alarm.ringBy(now);
    await this.#afterChange();
    return 'deleted';
  }

  async deleteTag(tag: string, by: Author = NO_AUTHOR): Promise<DeleteAnswer> {
    if (!this.#exists()) return 'repository';
    const here = () => (this.#manifests.byTag(tag, false) === null ? [] : [tag]);
    await this.#learnPolicies(this.#nameOf(), here);
    const deleted = this.ctx.storage.transactionSync((): DeleteAnswer => {
      const refused = this.#policies.refusal(here, 'deleted', by);
      if (refused !== null) return { refused };
      return this.#manifests.deleteTag(tag, Date.now()) ? 'deleted' : 'content';
    });
    await this.#afterChange();
    return deleted;
  }

  tags(count: number, last: string | null): Listing<string> | null {
    return this.#exists() ? this.#manifests.tags(count, last) : null;
  }

  tagsOf(digest: Digest, count: number): string[] {
    return this.#exists() ? this.#manifests.tagsOf(digest, count) : [];
  }

  referrers(subject: Digest, artifactType: string | null, last: string | null): Listing<Descriptor> {
    return this.#exists()
      ? this.#manifests.referrers(subject, artifactType, last)
      : { entries: [], more: false };
  }

  setPolicies(told: EffectivePolicies): void {
    // Without a row there is nothing that policies could be about. A new repository gets them with its first message.
    if (this.#exists() && this.#nameOf() !== null) this.#policies.set(told);
  }

  policies(): EffectivePolicies | null {
    return this.#exists() ? this.#policies.get() : null;
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

  override async alarm(): Promise<void> {
    await this.#alarm.ring();
  }

  /** Removes blobs that have expired and tags of deleted manifests, and sends notifications that failed before. */
  async #cleanUp(now: number): Promise<void> {
    if (!this.#exists()) return;
    this.ctx.storage.transactionSync(() => {
      this.#manifests.removeTags();
      this.#links.removeExpired(now);
      this.#links.removeExpiredRefusals(now);
      this.#abandoned.removeExpired(now);
      this.#arriving.removeExpired(now);
      this.#setPresent(this.#holdsSomething());
    });
    this.#forgetAnswers();
    await this.#notify();
    // A repository that is empty, and has notified all others, leaves nothing behind.
    if (this.#holdsSomething() || this.#nextDue(0) !== null) return;
    this.#hasTables = false;
    this.#name = null;
    this.#abandoned.forget();
    this.#arriving.forget();
    this.#policies.forget();
    this.#pulls.forget();
    this.#retention.forget();
    await this.ctx.storage.deleteAll();
  }

  #nextDue(now: number): number | null {
    if (!this.#exists()) return null;
    const due = [
      this.#hasToNotify() ? Math.max(now, this.#notifyAgainAt) : null,
      this.#manifests.hasTagsToRemove() ? now : null,
      this.#links.nextExpiry(),
      this.#links.nextRefusalExpiry(),
      this.#abandoned.nextExpiry(),
      this.#arriving.nextExpiry(),
    ].filter((at) => at !== null);
    return due.length === 0 ? null : Math.min(...due);
  }

  async #refuse(ids: string[], forMs: number): Promise<void> {
    this.#makeTables();
    const expiresAt = Date.now() + forMs;
    await this.#alarm.ringBy(expiresAt);
    this.#links.refuse(ids, expiresAt);
  }

  #holdsSomething(): boolean {
    const query = 'SELECT EXISTS (SELECT 1 FROM manifests) OR EXISTS (SELECT 1 FROM blobs) AS something';
    return firstRow<{ something: number }>(this.#sql, query)?.something === 1;
  }

  #setPresent(present: boolean): void {
    this.#sql.exec(
      'UPDATE repository SET present = ?1, version = version + 1 WHERE present <> ?1',
      present ? 1 : 0,
    );
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

  /** Asks the catalog for the policies if it has not told of them yet, and there are tags that they may be about. */
  async #learnPolicies(name: string | null, tags: () => Iterable<string>): Promise<void> {
    if (name === null || this.#policies.get() !== null || tags()[Symbol.iterator]().next().done) return;
    this.#policies.set(await catalogOf(this.env).policiesOf(name));
  }

  /** Drops the answers that the isolate remembers, and notifies the others. The alarm repeats a notification that fails. */
  async #afterChange(): Promise<void> {
    this.#forgetAnswers();
    if (!this.#hasToNotify()) return;
    await this.#alarm.ringBy(Date.now() + RETRY_MS);
    this.ctx.waitUntil(this.#notify());
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
    this.#sql.exec(
      'UPDATE repository SET announced = MAX(announced, ?), policies = COALESCE(?, policies)',
      version,
      this.#policies.learn(told ?? null),
    );
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
