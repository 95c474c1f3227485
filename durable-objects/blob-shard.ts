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
import { DELETE_KEYS_MAX, LINK_CONFIRM_MS, RETRY_MS, UNLINKED_GRACE_MS } from '../worker/oci/limits.ts';
import { matchesEach, type Pattern } from '../worker/oci/pattern.ts';
import { blobStore } from '../worker/storage/blobs.ts';
import { repositoryOf } from './address.ts';
import { ringBy, ringNext } from './alarm.ts';
import { type Migration, migrate } from './migrations.ts';

const MIGRATIONS: Migration[] = [
  {
    keepsOlderCode: true,
    sql: `
      CREATE TABLE IF NOT EXISTS objects (
        key TEXT PRIMARY KEY,
        digest TEXT NOT NULL,
        size INTEGER NOT NULL,
        stored INTEGER NOT NULL, -- 1: a repository has had a link to it, so the bytes are there and are what they should be
        delete_at INTEGER,       -- when its bytes go: set while no link holds it
        deleting INTEGER NOT NULL DEFAULT 0
      ) WITHOUT ROWID;
      CREATE INDEX IF NOT EXISTS objects_digest ON objects (digest);
      CREATE INDEX IF NOT EXISTS objects_delete ON objects (delete_at) WHERE delete_at IS NOT NULL;
      CREATE TABLE IF NOT EXISTS links (
        id TEXT PRIMARY KEY,
        key TEXT NOT NULL,
        repository TEXT NOT NULL,
        confirm_at INTEGER       -- when to settle it with the repository; NULL once that is done
      ) WITHOUT ROWID;
      CREATE INDEX IF NOT EXISTS links_key ON links (key);
      CREATE INDEX IF NOT EXISTS links_confirm ON links (confirm_at) WHERE confirm_at IS NOT NULL;
    `,
  },
];

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

/** Links of one digest that a mount looks at, and repositories that it asks. */
const HOLDERS_MAX = 1000;
const ASKED_MAX = 3;

type ObjectRow = { key: string; size: number; stored: number };

export class BlobShard extends DurableObject<Env> {
  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    migrate(ctx.storage, MIGRATIONS);
  }

  /**
   * Writes a link, to content of this digest that is stored already or else to that of the caller. Null where the caller
   * named none and there is none. May be repeated.
   */
  async link(request: LinkRequest): Promise<LinkedObject | null> {
    const known =
      this.#sql.exec('SELECT 1 FROM objects WHERE digest = ? LIMIT 1', request.digest).toArray().length > 0;
    const { content, digest } = request;
    const among = 'among' in content ? content.among : null;
    if (known && 'proven' in content && !content.proven) await this.#confirmEarly(digest);
    const held = among === null ? null : await this.#heldAmong(digest, among);
    if (among !== null && held === null) return null;
    const confirmAt = Date.now() + LINK_CONFIRM_MS;
    // First: an alarm with nothing to do is harmless, a due link without one is not.
    await ringBy(this.ctx.storage, confirmAt);
    return this.ctx.storage.transactionSync(() => {
      const object =
        among === null ? (this.#stored(request) ?? this.#expected(request)) : this.#storedAt(held);
      if (object === null) return null;
      this.#sql.exec(
        'INSERT INTO links VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET key = excluded.key',
        request.link,
        object.key,
        request.repository,
        confirmAt,
      );
      this.#sql.exec('UPDATE objects SET delete_at = NULL WHERE key = ?', object.key);
      return { key: object.key, size: object.size, stored: object.stored === 1 };
    });
  }

  /** Removes links. What nothing holds any more is deleted later. May be repeated. */
  async unlink(ids: string[]): Promise<void> {
    const now = Date.now();
    await ringBy(this.ctx.storage, now + UNLINKED_GRACE_MS);
    this.ctx.storage.transactionSync(() => {
      for (const id of ids) this.#unlink(id, now);
    });
  }

  /** True where the content of this key, or below it, is in this shard's care. */
  holds(key: string): boolean {
    return (
      this.#sql.exec("SELECT 1 FROM objects WHERE key = ?1 OR key GLOB ?1 || '/*'", key).toArray().length > 0
    );
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
  #stored(request: LinkRequest): ObjectRow | null {
    const { content } = request;
    if ('proven' in content && content.proven) {
      this.#sql.exec('UPDATE objects SET stored = 1 WHERE key = ? AND deleting = 0', content.key);
    }
    return (
      this.#sql
        .exec<ObjectRow>(
          'SELECT key, size, stored FROM objects WHERE digest = ? AND stored = 1 AND deleting = 0 LIMIT 1',
          request.digest,
        )
        .toArray()[0] ?? null
    );
  }

  /** The content that the caller is about to store. */
  #expected(request: LinkRequest): ObjectRow | null {
    const { content, digest } = request;
    if ('among' in content || content.proven) return null;
    this.#sql.exec(
      'INSERT INTO objects (key, digest, size, stored) VALUES (?, ?, ?, 0) ON CONFLICT DO NOTHING',
      content.key,
      digest,
      content.size,
    );
    return { key: content.key, size: content.size, stored: 0 };
  }

  /** The content of a key, unless it has begun to be deleted meanwhile. */
  #storedAt(key: string | null): ObjectRow | null {
    const query = 'SELECT key, size, stored FROM objects WHERE key = ? AND stored = 1 AND deleting = 0';
    return this.#sql.exec<ObjectRow>(query, key).toArray()[0] ?? null;
  }

  /**
   * The key of content that a repository holds which will do. A link that is not settled proves nothing, for anybody may
   * begin a push of any digest: its repository is asked.
   */
  async #heldAmong(digest: Digest, among: Pattern[][]): Promise<string | null> {
    const links = this.#sql
      .exec<{ id: string; repository: string; key: string; confirm_at: number | null }>(
        `SELECT l.id, l.repository, l.key, l.confirm_at FROM links l JOIN objects o ON o.key = l.key
         WHERE o.digest = ? AND o.deleting = 0 ORDER BY l.confirm_at IS NOT NULL LIMIT ?`,
        digest,
        HOLDERS_MAX,
      )
      .toArray()
      .filter(({ repository }) => matchesEach(among, repository));
    for (const { id, repository, key, confirm_at: confirmAt } of links.slice(0, ASKED_MAX)) {
      if (confirmAt === null) return key;
      if (!(await repositoryOf(this.env, repository).holdsLink(id))) continue;
      this.#confirm(id, key);
      return key;
    }
    return null;
  }

  #unlink(id: string, now: number): void {
    const [gone] = this.#sql
      .exec<{ key: string }>('DELETE FROM links WHERE id = ? RETURNING key', id)
      .toArray();
    if (gone === undefined) return;
    if (this.#sql.exec('SELECT 1 FROM links WHERE key = ? LIMIT 1', gone.key).toArray().length > 0) return;
    this.#sql.exec('UPDATE objects SET delete_at = ? WHERE key = ?', now + UNLINKED_GRACE_MS, gone.key);
  }

  /**
   * A digest that somebody pushed today is known only by an unconfirmed link. Before its bytes are stored a second time,
   * the repository is asked whether it has the link: this does not bind it, for that push may still be under way.
   */
  async #confirmEarly(digest: Digest): Promise<void> {
    const candidates = this.#sql
      .exec<{ id: string; repository: string; key: string }>(
        `SELECT l.id, l.repository, l.key FROM links l JOIN objects o ON o.key = l.key
         WHERE o.digest = ?1 AND o.deleting = 0
           AND NOT EXISTS (SELECT 1 FROM objects s WHERE s.digest = ?1 AND s.stored = 1 AND s.deleting = 0)
         LIMIT 3`,
        digest,
      )
      .toArray();
    for (const { id, repository, key } of candidates) {
      if (!(await repositoryOf(this.env, repository).holdsLink(id))) continue;
      this.#confirm(id, key);
      return;
    }
  }

  #confirm(id: string, key: string): void {
    this.#sql.exec('UPDATE objects SET stored = 1 WHERE key = ?', key);
    this.#sql.exec('UPDATE links SET confirm_at = NULL WHERE id = ?', id);
  }

  /** Settles the links that are due: each is confirmed, or refused by its repository for ever and removed. */
  async #settle(now: number): Promise<void> {
    const due = this.#sql
      .exec<{ id: string; repository: string; key: string }>(
        'SELECT id, repository, key FROM links WHERE confirm_at <= ? ORDER BY confirm_at LIMIT 1000',
        now,
      )
      .toArray();
    for (const [repository, links] of Map.groupBy(due, (link) => link.repository)) {
      try {
        const held = new Set(
          await repositoryOf(this.env, repository).settleLinks(links.map((link) => link.id)),
        );
        this.ctx.storage.transactionSync(() => {
          for (const { id, key } of links) {
            if (held.has(id)) this.#confirm(id, key);
            else this.#unlink(id, now);
          }
        });
      } catch (fault) {
        console.error(`links of ${repository} could not be settled`, fault);
        for (const { id } of links)
          this.#sql.exec('UPDATE links SET confirm_at = ? WHERE id = ?', now + RETRY_MS, id);
      }
    }
  }

  /** Deletes the bytes that are due. They are marked first, so that no link can come to them in between. */
  async #delete(now: number): Promise<void> {
    const keys = this.#sql
      .exec<{ key: string }>(
        `UPDATE objects SET deleting = 1 WHERE key IN (
           SELECT key FROM objects WHERE delete_at <= ? ORDER BY delete_at LIMIT ?) RETURNING key`,
        now,
        DELETE_KEYS_MAX,
      )
      .toArray()
      .map((row) => row.key);
    if (keys.length === 0) return;
    try {
      await blobStore(this.env).delete(keys);
      this.#sql.exec(
        'DELETE FROM objects WHERE key IN (SELECT value FROM json_each(?))',
        JSON.stringify(keys),
      );
    } catch (fault) {
      console.error('blobs could not be deleted', fault);
      this.#sql.exec(
        'UPDATE objects SET delete_at = ? WHERE key IN (SELECT value FROM json_each(?))',
        now + RETRY_MS,
        JSON.stringify(keys),
      );
    }
  }

  #earliest(query: string): number | null {
    return this.#sql.exec<{ at: number | null }>(query).one().at;
  }

  get #sql(): SqlStorage {
    return this.ctx.storage.sql;
  }
}
