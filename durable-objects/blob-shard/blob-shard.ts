/**
 * The class of the BlobShard objects.
 *
 * A push writes its link here first, before the bytes are stored and before the repository has the link. So if the push fails,
 * the shard knows what it left behind. A link that is not confirmed in time is settled with the repository, which either has
 * the link or refuses it forever. This needs no lock and no pause, and does not depend on clocks.
 */
import { DurableObject } from 'cloudflare:workers';
import { blobStore } from '../../worker/blob-store.ts';
import { digestOfStream } from '../../worker/blobs/hash.ts';
import { blobKey } from '../../worker/blobs/storage-key.ts';
import type { Env } from '../../worker/env.ts';
import type {
  BlobShardObject,
  Leftover,
  LinkedObject,
  LinkRequest,
  ReleasedLink,
  StoredBlob,
} from '../../worker/objects/blob-shard.ts';
import type {
  Inventory,
  InventoryPlace,
  KnownContent,
  KnownLink,
  LinkOfRepository,
} from '../../worker/objects/check.ts';
import { algorithmOf, type Digest } from '../../worker/oci/digest.ts';
import type { Pattern } from '../../worker/oci/pattern.ts';
import { repositoryOf } from '../../worker/stubs.ts';
import { Alarm, RETRY_MS } from '../alarm.ts';
import { graceMs, linkConfirmMs } from '../graces.ts';
import { migrate } from '../migrations.ts';
import { type Content, Contents, type Holder, type Unverified } from './contents.ts';
import { contentsAmong, inventoryOf, isLeft, isSettled, knowsLink } from './inventory.ts';
import { BLOB_SHARD_MIGRATIONS } from './schema.ts';

/** When content whose deletion failed is tried again. */
const DELETE_RETRY_MS = 10 * 60_000;
/** About how much one alarm verifies, and when content that cannot be read is tried again. */
const VERIFIED_BYTES = 256 * 1024 * 1024;
const VERIFY_RETRY_MS = 3600 * 1000;

/** Lost contents, and links to each of them, that one alarm reports. */
const LOST_AT_A_TIME = 10;
const HOLDERS_NOTIFIED = 100;
/** Repositories that are asked whether they have a link. */
const REPOSITORIES_ASKED_MAX = 3;
/** Contents that one alarm verifies. */
const VERIFIED_AT_A_TIME = 20;

export class BlobShard extends DurableObject<Env> implements BlobShardObject {
  readonly #contents: Contents;
  readonly #alarm: Alarm;
  readonly #graceMs: number;
  readonly #confirmMs: number;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    migrate(ctx.storage, BLOB_SHARD_MIGRATIONS);
    this.#graceMs = graceMs(env);
    this.#confirmMs = linkConfirmMs(env);
    this.#contents = new Contents(ctx.storage.sql, this.#graceMs, this.#confirmMs);
    this.#alarm = new Alarm(ctx, {
      run: async (now) => {
        await this.#settle(now);
        await this.#reportLost(now);
        await this.#delete(now);
        await this.#verify(now);
      },
      nextDue: () => this.#contents.nextDue(),
    });
    this.#alarm.check();
  }

  async link(request: LinkRequest): Promise<LinkedObject | null> {
    const { content, digest, repository, link } = request;
    const among = 'among' in content ? content.among : null;
    if ('proven' in content && !content.proven) await this.#proveEarly(digest);
    const held = among === null ? null : await this.#keyHeldAmong(digest, among);
    if (among !== null && held === null) return null;
    const confirmAt = Date.now() + this.#confirmMs;
    // Set the alarm before writing: an alarm with nothing to do is harmless, a due link without an alarm is not.
    await this.#alarm.ringBy(confirmAt);
    return this.ctx.storage.transactionSync(() => {
      const object = held === null ? this.#contentFor(request) : this.#contents.storedAt(digest, held);
      if (object === null) return null;
      this.#contents.link({ digest, key: object.key, repository, id: link }, confirmAt);
      return { key: object.key, size: object.size, stored: object.stored === 1 };
    });
  }

  async linkMany(
    repository: string,
    wanted: (StoredBlob & { link: string })[],
  ): Promise<(LinkedObject | null)[]> {
    const confirmAt = Date.now() + this.#confirmMs;
    await this.#alarm.ringBy(confirmAt);
    return this.ctx.storage.transactionSync(() =>
      wanted.map(({ link, digest, key, size }) => {
        const content = { key, size, proven: true };
        const object = this.#contentFor({ link, digest, repository, content });
        if (object === null) return null;
        this.#contents.link({ digest, key: object.key, repository, id: link }, confirmAt);
        return { key: object.key, size: object.size, stored: true };
      }),
    );
  }

  async release(links: ReleasedLink[]): Promise<void> {
    const now = Date.now();
    await this.#alarm.ringBy(now + this.#graceMs);
    this.ctx.storage.transactionSync(() => {
      for (const { link: id, digest, repository, key } of links) {
        const keys = key === null ? this.#contents.of(digest).map((content) => content.key) : [key];
        for (const held of keys) this.#contents.unlink({ digest, key: held, repository, id }, now);
      }
    });
  }

  async collect({ digest, id, key, size }: Leftover): Promise<void> {
    const at = Date.now() + this.#graceMs;
    await this.#alarm.ringBy(at);
    this.ctx.storage.transactionSync(() => {
      if (this.#contents.has(digest, blobKey(id))) return;
      this.#contents.expect(digest, key, size);
      this.#contents.deleteAt([{ digest, key }], at);
    });
  }

  async dropIfLost({ digest, key, size }: StoredBlob): Promise<boolean> {
    const found = await blobStore(this.env).sizeOf(key);
    if (found === size) return false;
    await this.#drop({ digest, key, size }, found === null ? 'nothing, or not all' : `${found} bytes`);
    return true;
  }

  keysHeldElsewhere(repository: string, contents: { digest: Digest; key: string }[]): string[] {
    return this.#contents.keysHeldElsewhere(repository, contents);
  }

  async verifyRecent(): Promise<void> {
    const now = Date.now();
    const { recent, listed } = this.ctx.storage.transactionSync(() => this.#contents.listRecent(now));
    if (recent === 0) return;
    const rest = recent > listed ? `; ${recent - listed} more are not checked` : '';
    console.warn(
      `the registry was not stopped properly: comparing the ${listed} blobs that were pushed last with their digests${rest}`,
    );
    await this.#alarm.ringBy(now);
  }

  inventory(from: InventoryPlace | null, count: number): Inventory<KnownContent | KnownLink> {
    return inventoryOf(this.ctx.storage.sql, from, count);
  }

  contentsAmong(ids: string[]): string[] {
    return contentsAmong(this.ctx.storage.sql, ids);
  }

  knowsLink(link: LinkOfRepository): boolean {
    return knowsLink(this.ctx.storage.sql, link);
  }

  isSettled(link: LinkOfRepository): boolean {
    return isSettled(this.ctx.storage.sql, link);
  }

  async settleAgain({ link: id, ...link }: LinkOfRepository): Promise<void> {
    const now = Date.now();
    await this.#alarm.ringBy(now);
    this.#contents.settleAt({ ...link, id }, now);
  }

  async relink({ link: id, digest, key, repository }: LinkOfRepository, size: number): Promise<boolean> {
    const confirmAt = Date.now() + this.#confirmMs;
    await this.#alarm.ringBy(confirmAt);
    // The link comes first, so that the bytes are not deleted while they are looked for.
    const content = this.ctx.storage.transactionSync(() => {
      const expected = this.#contents.expect(digest, key, size);
      if (expected !== null) this.#contents.link({ digest, key, repository, id }, confirmAt);
      return expected;
    });
    if (content === null) return false;
    if (await this.dropIfLost({ digest, key, size: content.size })) return false;
    this.#contents.prove(digest, key);
    return true;
  }

  async isLost({ digest, key, size }: StoredBlob): Promise<boolean> {
    const isStored = this.#contents.storedAt(digest, key) !== null;
    // Of a push of today, only the repository knows whether it has finished.
    const holders = isStored ? [] : this.#contents.holders(digest, key, REPOSITORIES_ASKED_MAX);
    if (!isStored && (await this.#findProven(holders)) === null) return false;
    if ((await blobStore(this.env).sizeOf(key)) === size) return false;
    // It may have been deleted meanwhile.
    return this.#contents.storedAt(digest, key) !== null;
  }

  async isLeft(digest: Digest, key: string, repair: boolean): Promise<boolean> {
    const at = Date.now() + this.#graceMs;
    if (repair) await this.#alarm.ringBy(at);
    return this.ctx.storage.transactionSync(() => {
      if (!isLeft(this.ctx.storage.sql, digest, key)) return false;
      if (repair) this.#contents.deleteAt([{ digest, key }], at);
      return true;
    });
  }

  override async alarm(): Promise<void> {
    await this.#alarm.ring();
  }

  /** Marks content as lost: it gets no new link, and the alarm reports it to the repositories that hold it. */
  async #drop({ digest, key, size }: StoredBlob, found: string): Promise<void> {
    const now = Date.now();
    if (!this.#contents.lose(digest, key, now)) return; // It was deleted, or is marked already.
    console.error(`the store has lost ${digest}: of ${size} bytes under ${key} there is ${found}`);
    await this.#alarm.ringBy(now);
  }

  /** Content that is known to be stored, or else the content that the caller is about to store or has a proof for. */
  #contentFor({ content, digest }: LinkRequest): Content | null {
    if ('among' in content) return null;
    if (content.proven) this.#contents.prove(digest, content.key);
    const stored = this.#contents.stored(digest);
    if (stored !== null || content.proven) return stored;
    return this.#contents.expect(digest, content.key, content.size);
  }

  /**
   * The storage key of content that is held by a repository whose name matches. A link that is not settled proves nothing, because
   * anyone may begin a push of any digest. Its repository is asked.
   */
  async #keyHeldAmong(digest: Digest, among: Pattern[][]): Promise<string | null> {
    const holders = this.#contents.holdersAmong(digest, among);
    const settled = holders.find((link) => link.confirm_at === null);
    return settled?.key ?? (await this.#findProven(holders.slice(0, REPOSITORIES_ASKED_MAX)));
  }

  /**
   * A digest that was pushed today has only unconfirmed links. Before its bytes are stored a second time, the repositories are asked
   * whether they have these links. If one does not, this settles nothing, because its push may still be running.
   */
  async #proveEarly(digest: Digest): Promise<void> {
    const contents = this.#contents.of(digest);
    if (contents.some(({ stored }) => stored === 1)) return;
    const some = contents.slice(0, REPOSITORIES_ASKED_MAX);
    const holders = some.flatMap(({ key }) => this.#contents.holders(digest, key, REPOSITORIES_ASKED_MAX));
    await this.#findProven(holders.slice(0, REPOSITORIES_ASKED_MAX));
  }

  /** The storage key of the first of these links that its repository has. */
  async #findProven(holders: Holder[]): Promise<string | null> {
    for (const { digest, key, repository, id } of holders) {
      if (!(await repositoryOf(this.env, repository).hasLink({ link: id, digest, key }))) continue;
      this.#contents.prove(digest, key);
      return key;
    }
    return null;
  }

  /** Settles the links that are due: each is confirmed, or its repository refuses it forever and it is removed. */
  async #settle(now: number): Promise<void> {
    const due = this.#contents.unsettled(now);
    for (const [repository, links] of Map.groupBy(due, (link) => link.repository)) {
      try {
        const asked = links.map(({ id, digest, key }) => ({ link: id, digest, key }));
        const held = new Set(await repositoryOf(this.env, repository).settle(asked));
        this.ctx.storage.transactionSync(() => {
          for (const link of links) {
            if (held.has(link.id)) this.#contents.confirm(link);
            else this.#contents.unlink(link, now);
          }
        });
      } catch (error) {
        console.error(`links of ${repository} could not be settled`, error);
        for (const link of links) this.#contents.settleAt(link, now + RETRY_MS);
      }
    }
  }

  /** Reports to repositories that the bytes of a blob are lost, and removes their links. */
  async #reportLost(now: number): Promise<void> {
    for (const lost of this.#contents.lost(now, LOST_AT_A_TIME)) {
      const { digest, key } = lost;
      const holders = this.#contents.holders(digest, key, HOLDERS_NOTIFIED);
      for (const [repository, links] of Map.groupBy(holders, (holder) => holder.repository)) {
        try {
          await repositoryOf(this.env, repository).dropLostBlob(digest, key);
          for (const link of links) this.#contents.removeLink(link);
        } catch (error) {
          console.error(`${repository} could not be told that ${digest} is lost`, error);
          this.#contents.deleteAt([lost], now + RETRY_MS);
        }
      }
    }
  }

  /** Verifies contents, one after the other. Content that cannot be read is tried again later and does not stop the others. */
  async #verify(now: number): Promise<void> {
    let bytes = 0;
    for (const content of this.#contents.unverified(now, VERIFIED_AT_A_TIME)) {
      if (bytes >= VERIFIED_BYTES) return;
      try {
        bytes += await this.#verifyOne(content);
        this.#contents.verified(content);
      } catch (error) {
        console.error(`${content.key} could not be compared with ${content.digest}`, error);
        this.#contents.verifyAt(content, now + VERIFY_RETRY_MS);
      }
    }
  }

  /** Drops content whose bytes do not have the digest. Returns how many bytes were read. */
  async #verifyOne({ digest, key }: Unverified): Promise<number> {
    const content = this.#contents.at(digest, key);
    if (content === null) return 0;
    // Content of an unfinished push may be incomplete: its client continues the upload.
    const isLinked =
      content.stored === 1 ||
      (await this.#findProven(this.#contents.holders(digest, key, HOLDERS_NOTIFIED))) !== null;
    if (!isLinked) return 0;
    const { size } = content;
    const found = await blobStore(this.env).get(key);
    if (found === null || found.size !== size) {
      await found?.body.cancel();
      await this.#drop({ digest, key, size }, found === null ? 'nothing, or not all' : `${found.size} bytes`);
      return 0;
    }
    const read = await digestOfStream(algorithmOf(digest), found.body);
    if (read.digest !== digest)
      await this.#drop({ digest, key, size }, `content of the digest ${read.digest}`);
    return size;
  }

  /**
   * Deletes the bytes that are due. They are marked first, so that they get no new link meanwhile. A key that cannot be deleted is
   * tried again later and does not stop the others.
   */
  async #delete(now: number): Promise<void> {
    const due = this.#contents.beginDeleting(now);
    if (due.length === 0) return;
    const failed = new Set(await blobStore(this.env).delete(due.map(({ key }) => key)));
    this.#contents.forget(due.filter(({ key }) => !failed.has(key)));
    if (failed.size > 0)
      this.#contents.deleteAt(
        due.filter(({ key }) => failed.has(key)),
        now + DELETE_RETRY_MS,
      );
  }
}
