/**
 * BlobShard: one for each first byte of a digest, or on one machine one for all. It knows which keys have the bytes of a
 * digest and which links hold them, and deletes the bytes of a key some time after its last link has gone.
 *
 * A link is written here before the repository knows of it, and before the bytes are there: so whatever a push leaves
 * behind when it dies is known here. What is still unconfirmed after a while is settled with the repository, which either
 * has the link or will refuse it for ever. No lock, no pause, no clock is trusted.
 */
import { DurableObject } from 'cloudflare:workers';
import type { Env } from '../worker/env.ts';
import type { Digest } from '../worker/oci/digest.ts';
import {
  DELETE_KEYS_MAX,
  LINK_CONFIRM_MS,
  RETRY_MS,
  SETTLED_AT_A_TIME,
  UNLINKED_GRACE_MS,
} from '../worker/oci/limits.ts';
import { literalPrefix, matchesEach, type Pattern } from '../worker/oci/pattern.ts';
import { blobStore } from '../worker/storage/blobs.ts';
import { repositoryOf } from './address.ts';
import { ringBy, ringNext } from './alarm.ts';
import { BLOB_SHARD_MIGRATIONS } from './blob-shard-schema.ts';
import { migrate } from './migrations.ts';
import { allRows, firstRow } from './rows.ts';

export interface LinkRequest {
  link: string;
  digest: Digest;
  repository: string;
  content: LinkContent;
}

/**
 * Content that the caller is about to store, or, where `proven`, that a repository has a link to. Or any that is held by a
 * repository which matches a pattern of each list.
 */
export type LinkContent = { key: string; size: number; proven: boolean } | { among: Pattern[][] };

export interface LinkedObject {
  key: string;
  size: number;
  /** The bytes are there already. */
  stored: boolean;
}

/** A link that is let go. `key` is null for links that release 0.1.0 let go. */
export interface ReleasedLink {
  link: string;
  digest: Digest;
  repository: string;
  key: string | null;
}

/** Links of one digest that a mount without a source reads, and repositories that it asks. */
const HOLDERS_READ_MAX = 100;
const ASKED_MAX = 3;
/** Contents of one digest that are looked at. Pushes of the same digest at the same time each store one. */
const CONTENTS_READ_MAX = 20;

type ObjectRow = { key: string; size: number; stored: number };
type LinkRow = { digest: Digest; key: string; repository: string; id: string; confirm_at: number | null };

export class BlobShard extends DurableObject<Env> {
  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    migrate(ctx.storage, BLOB_SHARD_MIGRATIONS);
  }

  /**
   * Writes a link, to content of this digest that is stored already or else to that of the caller. Null where the caller
   * named none and there is none.
   */
  async link(request: LinkRequest): Promise<LinkedObject | null> {
    const { content, digest, repository, link } = request;
    const among = 'among' in content ? content.among : null;
    if ('proven' in content && !content.proven) await this.#proveEarly(digest);
    const held = among === null ? null : await this.#heldAmong(digest, among);
    if (among !== null && held === null) return null;
    const confirmAt = Date.now() + LINK_CONFIRM_MS;
    // First: an alarm with nothing to do is harmless, a due link without one is not.
    await ringBy(this.ctx.storage, confirmAt);
    return this.ctx.storage.transactionSync(() => {
      const object =
        held === null ? (this.#stored(request) ?? this.#expected(request)) : this.#storedAt(digest, held);
      if (object === null) return null;
      this.#sql.exec(
        `INSERT INTO links (digest, key, repository, id, confirm_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
        digest,
        object.key,
        repository,
        link,
        confirmAt,
      );
      this.#sql.exec(
        'UPDATE objects SET delete_at = NULL WHERE digest = ? AND key = ? AND delete_at IS NOT NULL',
        digest,
        object.key,
      );
      return { key: object.key, size: object.size, stored: object.stored === 1 };
    });
  }

  /** Removes links. What nothing holds any more is deleted later. May be repeated. */
  async release(links: ReleasedLink[]): Promise<void> {
    const now = Date.now();
    await ringBy(this.ctx.storage, now + UNLINKED_GRACE_MS);
    this.ctx.storage.transactionSync(() => {
      for (const { link, digest, repository, key } of links) {
        const keys = key === null ? this.#contents(digest).map((content) => content.key) : [key];
        for (const held of keys) this.#unlink({ digest, key: held, repository, id: link }, now);
      }
    });
  }

  /** True where the content of this key, or below it, is in this shard's care. */
  caresFor(digest: Digest, key: string): boolean {
    const query = `SELECT 1 FROM objects WHERE digest = ?1 AND (key = ?2 OR (key > ?2 || '/' AND key < ?2 || '0')) LIMIT 1`;
    return firstRow(this.#sql, query, digest, key) !== null;
  }

  override async alarm(): Promise<void> {
    const now = Date.now();
    await this.#settle(now);
    await this.#delete(now);
    await ringNext(this.ctx.storage, [
      this.#earliest('SELECT MIN(confirm_at) AS at FROM links WHERE confirm_at IS NOT NULL'),
      this.#earliest('SELECT MIN(delete_at) AS at FROM objects WHERE delete_at IS NOT NULL'),
    ]);
  }

  /** Content of the digest that is surely there; a proof by the caller makes its content so. */
  #stored({ content, digest }: LinkRequest): ObjectRow | null {
    if ('proven' in content && content.proven) this.#prove(digest, content.key);
    return this.#contents(digest).find(({ stored }) => stored === 1) ?? null;
  }

  /** The content that the caller is about to store. */
  #expected({ content, digest }: LinkRequest): ObjectRow | null {
    if ('among' in content || content.proven) return null;
    this.#sql.exec(
      'INSERT INTO objects (digest, key, size, stored) VALUES (?, ?, ?, 0) ON CONFLICT DO NOTHING',
      digest,
      content.key,
      content.size,
    );
    return { key: content.key, size: content.size, stored: 0 };
  }

  /** The content of a key, unless it has begun to be deleted meanwhile. */
  #storedAt(digest: Digest, key: string): ObjectRow | null {
    const query =
      'SELECT key, size, stored FROM objects WHERE digest = ? AND key = ? AND stored = 1 AND deleting = 0';
    return firstRow<ObjectRow>(this.#sql, query, digest, key);
  }

  /** Some of the contents of a digest. */
  #contents(digest: Digest): ObjectRow[] {
    const query = 'SELECT key, size, stored FROM objects WHERE digest = ? AND deleting = 0 LIMIT ?';
    return allRows<ObjectRow>(this.#sql, query, digest, CONTENTS_READ_MAX);
  }

  /**
   * The key of content that a repository holds which will do. A link that is not settled proves nothing, because anyone may
   * begin a push of any digest: its repository is asked.
   */
  async #heldAmong(digest: Digest, among: Pattern[][]): Promise<string | null> {
    const links = this.#holders(digest, among);
    const settled = links.find((link) => link.confirm_at === null);
    if (settled !== undefined) return settled.key;
    return this.#provenByOne(links);
  }

  /**
   * Links of repositories that match a pattern of each list. The primary key leads to the names that begin as a pattern does.
   * What is read is bounded: where patterns begin with a star and match few of many holders, none may be found.
   */
  #holders(digest: Digest, among: Pattern[][]): LinkRow[] {
    const prefixes = narrowest(among);
    const found: LinkRow[] = [];
    let left = HOLDERS_READ_MAX;
    for (const { key } of this.#contents(digest)) {
      for (const prefix of prefixes) {
        const links = allRows<LinkRow>(
          this.#sql,
          `SELECT digest, key, repository, id, confirm_at FROM links
           WHERE digest = ?1 AND key = ?2 AND repository >= ?3 AND repository < ?3 || char(127) LIMIT ?4`,
          digest,
          key,
          prefix,
          left,
        );
        found.push(...links.filter(({ repository }) => matchesEach(among, repository)));
        left -= links.length;
        if (left <= 0) return found;
      }
    }
    return found;
  }

  #unlink({ digest, key, repository, id }: Omit<LinkRow, 'confirm_at'>, now: number): void {
    const gone = allRows(
      this.#sql,
      'DELETE FROM links WHERE digest = ? AND key = ? AND repository = ? AND id = ? RETURNING id',
      digest,
      key,
      repository,
      id,
    );
    if (gone.length === 0) return;
    this.#sql.exec(
      `UPDATE objects SET delete_at = ?1 WHERE digest = ?2 AND key = ?3
         AND NOT EXISTS (SELECT 1 FROM links WHERE digest = ?2 AND key = ?3)`,
      now + UNLINKED_GRACE_MS,
      digest,
      key,
    );
  }

  /**
   * A digest that was pushed today is known only by an unconfirmed link. Before its bytes are stored a second time, the
   * repository is asked whether it has the link: this does not bind it, for that push may still be under way.
   */
  async #proveEarly(digest: Digest): Promise<void> {
    const contents = this.#contents(digest);
    if (contents.length === 0 || contents.some(({ stored }) => stored === 1)) return;
    const links = contents
      .slice(0, ASKED_MAX)
      .flatMap(({ key }) =>
        allRows<LinkRow>(
          this.#sql,
          'SELECT digest, key, repository, id, confirm_at FROM links WHERE digest = ? AND key = ? LIMIT ?',
          digest,
          key,
          ASKED_MAX,
        ),
      );
    await this.#provenByOne(links);
  }

  /** The key of the first of these links, of the few that are asked for, that its repository has. */
  async #provenByOne(links: LinkRow[]): Promise<string | null> {
    for (const { digest, key, repository, id } of links.slice(0, ASKED_MAX)) {
      if (!(await repositoryOf(this.env, repository).hasLink({ link: id, digest, key }))) continue;
      this.#prove(digest, key);
      return key;
    }
    return null;
  }

  /** A repository has a link to this content, so its bytes are there. */
  #prove(digest: Digest, key: string): void {
    this.#sql.exec(
      'UPDATE objects SET stored = 1 WHERE digest = ? AND key = ? AND stored = 0 AND deleting = 0',
      digest,
      key,
    );
  }

  /** Settles the links that are due: each is confirmed, or refused by its repository for ever and removed. */
  async #settle(now: number): Promise<void> {
    const due = allRows<LinkRow>(
      this.#sql,
      'SELECT digest, key, repository, id, confirm_at FROM links WHERE confirm_at <= ? ORDER BY confirm_at LIMIT ?',
      now,
      SETTLED_AT_A_TIME,
    );
    for (const [repository, links] of Map.groupBy(due, (link) => link.repository)) {
      try {
        const asked = links.map(({ id, digest, key }) => ({ link: id, digest, key }));
        const held = new Set(await repositoryOf(this.env, repository).settle(asked));
        this.ctx.storage.transactionSync(() => {
          for (const link of links) {
            if (held.has(link.id)) this.#confirm(link);
            else this.#unlink(link, now);
          }
        });
      } catch (fault) {
        console.error(`links of ${repository} could not be settled`, fault);
        for (const link of links) this.#settleAt(link, now + RETRY_MS);
      }
    }
  }

  #confirm(link: LinkRow): void {
    this.#prove(link.digest, link.key);
    this.#settleAt(link, null);
  }

  #settleAt({ digest, key, repository, id }: LinkRow, at: number | null): void {
    this.#sql.exec(
      'UPDATE links SET confirm_at = ? WHERE digest = ? AND key = ? AND repository = ? AND id = ?',
      at,
      digest,
      key,
      repository,
      id,
    );
  }

  /** Deletes the bytes that are due. They are marked first, so that no link can come to them in between. */
  async #delete(now: number): Promise<void> {
    const due = allRows<{ digest: Digest; key: string }>(
      this.#sql,
      `UPDATE objects SET deleting = 1 WHERE (digest, key) IN (
         SELECT digest, key FROM objects WHERE delete_at <= ? ORDER BY delete_at LIMIT ?) RETURNING digest, key`,
      now,
      DELETE_KEYS_MAX,
    );
    if (due.length === 0) return;
    const objects = JSON.stringify(due);
    const dueObjects = `(digest, key) IN (SELECT value ->> 'digest', value ->> 'key' FROM json_each(?))`;
    try {
      await blobStore(this.env).delete(due.map(({ key }) => key));
      this.#sql.exec(`DELETE FROM objects WHERE ${dueObjects}`, objects);
    } catch (fault) {
      console.error('blobs could not be deleted', fault);
      this.#sql.exec(`UPDATE objects SET delete_at = ? WHERE ${dueObjects}`, now + RETRY_MS, objects);
    }
  }

  #earliest(query: string): number | null {
    return firstRow<{ at: number | null }>(this.#sql, query)?.at ?? null;
  }

  get #sql(): SqlStorage {
    return this.ctx.storage.sql;
  }
}

/** What the names that match begin with, by the list of patterns that says most about it. */
function narrowest(among: Pattern[][]): Set<string> {
  const lists = among.map((patterns) => new Set(patterns.map(literalPrefix)));
  const shortest = (prefixes: Set<string>) => Math.min(...[...prefixes].map((prefix) => prefix.length));
  return lists.sort((one, other) => shortest(other) - shortest(one))[0] ?? new Set(['']);
}
