/**
 * The class of the UploadSession objects. The bytes of an upload pass through it only as the tail that does not fill a part yet.
 *
 * The bytes of a sealed upload are never discarded here, because a request may be publishing them. They are handed over to the
 * shard of their digest, which deletes what has no link.
 */
import { DurableObject } from 'cloudflare:workers';
import { blobStore } from '../../worker/blob-store.ts';
import type { Draft, Part } from '../../worker/blobs/store.ts';
import type { Env } from '../../worker/env.ts';
import type { Inventory, InventoryPlace, KnownDraft } from '../../worker/objects/check.ts';
import type {
  ChunkStart,
  DirectDraft,
  OpenUpload,
  Progress,
  Refusal,
  SealResult,
  UploadClaim,
  UploadSessionObject,
} from '../../worker/objects/upload-session.ts';
import { algorithmOf, type Digest } from '../../worker/oci/digest.ts';
import { shardOf } from '../../worker/stubs.ts';
import { Alarm, RETRY_MS } from '../alarm.ts';
import { ENDED_UPLOAD_KEPT_MS, UPLOAD_ABORT_DELAY_MS } from '../graces.ts';
import { hasTables, migrate } from '../migrations.ts';
import { allRows, firstRow } from '../rows.ts';
import { UPLOAD_SESSION_MIGRATIONS } from './schema.ts';
import { Tails } from './tails.ts';

type Row = {
  id: string;
  draft: string;
  multipart: string | null;
  offset: number;
  tail_bytes: number;
  next_part: number;
  hash: string | null;
  hash_state: ArrayBuffer | null;
  sealed: string | null;
  state: State;
  /** The latest parts, as JSON. */
  parts: string;
  /** The announced size of an upload whose bytes the client stores itself. */
  direct: number | null;
};

/** `superseded`: the final PUT linked other content of the same digest. */
type State = 'open' | 'sealed' | 'published' | 'superseded' | 'cancelled';

const COLUMNS =
  'id, draft, multipart, offset, tail_bytes, next_part, hash, hash_state, sealed, state, parts, direct';

/** Parts in the row of an upload. Further parts are moved into rows of their own. A part takes about 60 bytes. */
const PARTS_IN_ROW = 500;

/** Uploads that one alarm ends, and how far alarms are apart. */
const ENDED_AT_A_TIME = 100;
const ALARMS_APART_MS = 60_000;

/** Objects that have dropped the hashes from before this start. */
const distrusted = new Set<string>();

export class UploadSession extends DurableObject<Env> implements UploadSessionObject {
  readonly #alarm: Alarm;
  readonly #tails: Tails;
  #migrated = false;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#tails = new Tails(ctx.storage.sql);
    this.#alarm = new Alarm(ctx, { run: (now) => this.#endDue(now), nextDue: (now) => this.#nextDue(now) });
  }

  status(id: string): { status: 'open'; offset: number } | { status: 'gone' } | { status: 'none' } {
    const row = this.#row(id);
    if (row === null) return { status: 'none' };
    return row.state === 'open' ? { status: 'open', offset: row.offset } : { status: 'gone' };
  }

  async begin(
    id: string,
    claim: UploadClaim,
    { at, reserve, tailMax }: ChunkStart,
  ): Promise<OpenUpload | Refusal> {
    const row = this.#row(id);
    if (row === null) {
      if (claim.begun) return { status: 'gone' };
      if (at !== null && at !== 0) return { status: 'elsewhere', offset: 0 };
      return this.#open(await this.#create(id, claim, 'open', 1 + reserve), 1, 0);
    }
    if (row.state !== 'open' || row.direct !== null) return { status: 'gone' };
    if (at !== null && at !== row.offset) return { status: 'elsewhere', offset: row.offset };
    if (reserve > 0)
      this.#sql.exec('UPDATE uploads SET next_part = ? WHERE id = ?', row.next_part + reserve, id);
    return this.#open(row, row.next_part, tailMax);
  }

  async beginDirect(id: string, claim: UploadClaim, draft: DirectDraft, size: number): Promise<void> {
    await this.#create(id, claim, 'open', 1, { ...draft, size });
  }

  directDraft(id: string): DirectDraft | null {
    const row = this.#row(id);
    if (row === null || row.state !== 'open' || row.direct === null) return null;
    return { draft: row.draft, multipart: row.multipart };
  }

  tail(id: string): Uint8Array {
    return this.#tails.read(id);
  }

  advance(id: string, progress: Progress): { status: 'open'; offset: number } | Refusal {
    return this.ctx.storage.transactionSync(() => {
      const row = this.#row(id);
      if (row === null || row.state !== 'open') return { status: 'gone' };
      if (row.offset !== progress.from) return { status: 'elsewhere', offset: row.offset };
      const { parts, tail } = progress;
      const before = parts.length > 0 ? 0 : row.tail_bytes;
      const first =
        parts.length > 0 ? this.#tails.replace(id, row.tail_bytes, tail) : this.#tails.add(id, before, tail);
      // If no other request has begun since, the unused part numbers are free again.
      const alone = progress.ends && row.next_part === progress.firstPart + progress.reserved;
      const used = (parts.at(-1)?.number ?? progress.firstPart - 1) + 1;
      this.#sql.exec(
        `UPDATE uploads SET offset = ?, tail_bytes = ?, tail = COALESCE(?, tail), parts = ?, multipart = ?, hash = ?,
           hash_state = ?, next_part = ?
         WHERE id = ?`,
        progress.offset,
        before + tail.length,
        first,
        this.#withParts(row, parts),
        progress.multipart,
        progress.hash?.digest ?? null,
        progress.hash?.state?.slice().buffer ?? null,
        alone ? used : row.next_part,
        id,
      );
      return { status: 'open', offset: progress.offset };
    });
  }

  async seal(id: string, digest: Digest, tailMax: number): Promise<SealResult> {
    const row = this.#row(id);
    if (row === null) return { status: 'none' };
    if (row.state === 'cancelled' || (row.sealed !== null && row.sealed !== digest))
      return { status: 'gone' };
    if (row.state === 'published' || row.state === 'superseded') return { status: 'published' };
    const open = this.#open(row, row.next_part, tailMax);
    const known = open.hash !== null && algorithmOf(open.hash.digest) === algorithmOf(digest);
    if (known && open.hash?.digest !== digest) {
      this.#cancel(id);
      return { status: 'mismatch', draft: open.draft };
    }
    if (row.state === 'open') {
      const endsAt = Date.now() + ENDED_UPLOAD_KEPT_MS;
      this.#sql.exec(
        `UPDATE uploads SET sealed = ?, state = 'sealed', ends_at = ? WHERE id = ?`,
        digest,
        endsAt,
        id,
      );
      await this.#alarm.ringBy(endsAt);
    }
    return { ...open, again: row.state === 'sealed' };
  }

  published(id: string, ours: boolean): void {
    this.ctx.storage.transactionSync(() => {
      if (this.#row(id)?.state !== 'sealed') return;
      if (!ours) {
        this.#sql.exec(`UPDATE uploads SET state = 'superseded' WHERE id = ?`, id);
        return;
      }
      this.#sql.exec(
        `UPDATE uploads SET state = 'published', tail_bytes = 0, tail = NULL, parts = '[]' WHERE id = ?`,
        id,
      );
      this.#removeRows(id);
    });
  }

  markMismatch(id: string): void {
    if (this.#row(id)?.state === 'sealed') this.#cancel(id);
  }

  async cancel(
    id: string,
    claim: UploadClaim,
  ): Promise<{ status: 'cancelled'; draft: Draft } | { status: 'gone' }> {
    const row = this.#row(id);
    if (row === null && claim.begun) return { status: 'gone' };
    if (row !== null && row.state !== 'open') return { status: 'gone' };
    const cancelled = row ?? (await this.#create(id, claim, 'cancelled', 1));
    const { draft } = this.#open(cancelled, cancelled.next_part, 0);
    if (row !== null) this.#cancel(id);
    return { status: 'cancelled', draft };
  }

  inventory(from: InventoryPlace | null, count: number): Inventory<KnownDraft> {
    if (!this.#hasTables()) return { entries: [], next: null };
    const query = 'SELECT id, draft FROM uploads WHERE id > ? ORDER BY id LIMIT ?';
    const rows = allRows<{ id: string; draft: string }>(this.#sql, query, from?.[0] ?? '', count);
    const last = rows.length === count ? rows.at(-1) : undefined;
    return {
      entries: rows.map(({ draft }) => ({ kind: 'draft', id: draft })),
      next: last === undefined ? null : [last.id],
    };
  }

  draftsAmong(ids: string[]): string[] {
    if (!this.#hasTables()) return [];
    const query = 'SELECT draft FROM uploads WHERE draft IN (SELECT value FROM json_each(?))';
    const rows = allRows<{ draft: string }>(this.#sql, query, JSON.stringify(ids));
    return rows.map(({ draft }) => draft);
  }

  override async alarm(): Promise<void> {
    await this.#alarm.ring();
  }

  /** Forgets uploads that have ended or expired. Bytes that were not published are discarded or handed over to the shard. */
  async #endDue(now: number): Promise<void> {
    if (!this.#hasTables()) return;
    const due = allRows<{ id: string }>(
      this.#sql,
      'SELECT id FROM uploads WHERE ends_at <= ? ORDER BY ends_at LIMIT ?',
      now,
      ENDED_AT_A_TIME,
    );
    for (const { id } of due) await this.#end(id, now);
    // The object of an upload of release 0.1.0 is not used again.
    if (due[0]?.id !== '' || this.#nextDue(now) !== null) return;
    await this.ctx.storage.deleteAlarm();
    await this.ctx.storage.deleteAll();
    this.#migrated = false;
  }

  #nextDue(now: number): number | null {
    if (!this.#hasTables()) return null;
    const at =
      firstRow<{ at: number | null }>(this.#sql, 'SELECT MIN(ends_at) AS at FROM uploads')?.at ?? null;
    return at === null || at <= now ? at : Math.max(at, now + ALARMS_APART_MS);
  }

  async #end(id: string, now: number): Promise<void> {
    // A request may have sealed this upload since the list was read.
    const query = `SELECT ${COLUMNS} FROM uploads WHERE id = ? AND ends_at <= ?`;
    const row = firstRow<Row>(this.#sql, query, id, now);
    if (row === null) return;
    // No request can seal it while its bytes are discarded.
    if (row.state === 'open') this.#cancel(id);
    try {
      await this.#discardBytes(row);
    } catch (error) {
      console.error('an upload that has ended could not be removed, and will be tried again', error);
      this.#sql.exec('UPDATE uploads SET ends_at = ? WHERE id = ?', now + RETRY_MS, row.id);
      return;
    }
    this.ctx.storage.transactionSync(() => {
      this.#removeRows(row.id);
      this.#sql.exec('DELETE FROM uploads WHERE id = ?', row.id);
    });
  }

  async #discardBytes(row: Row): Promise<void> {
    if (row.state === 'published') return;
    const { draft } = this.#open(row, row.next_part, 0);
    const store = blobStore(this.env);
    if (row.state === 'open' || row.state === 'cancelled') return store.discard(draft);
    // A slow request may still publish the bytes. The shard deletes them if no link comes.
    const digest = row.sealed as Digest;
    await shardOf(this.env, digest).collect({
      digest,
      id: draft.id,
      key: store.keyOf(draft),
      size: row.offset,
    });
    await store.abandon(draft);
  }

  get #sql(): SqlStorage {
    return this.ctx.storage.sql;
  }

  /** An object that never had an upload has no tables. */
  #hasTables(): boolean {
    if (this.#migrated) return true;
    if (!hasTables(this.#sql)) return false;
    migrate(this.ctx.storage, UPLOAD_SESSION_MIGRATIONS);
    this.#migrated = true;
    this.#distrust();
    this.#alarm.check();
    return true;
  }

  /**
   * After a crash, the disk may have lost bytes that were hashed. Without the hash, the content of an upload is read back before it is
   * published. This runs once for each object, because later bytes were not lost.
   */
  #distrust(): void {
    const id = this.ctx.id.toString();
    if (this.env.DISTURBED === undefined || distrusted.has(id)) return;
    this.#sql.exec(`UPDATE uploads SET hash = NULL, hash_state = NULL WHERE state IN ('open', 'sealed')`);
    distrusted.add(id);
  }

  #row(id: string): Row | null {
    if (!this.#hasTables()) return null;
    return firstRow<Row>(this.#sql, `SELECT ${COLUMNS} FROM uploads WHERE id = ?`, id);
  }

  async #create(
    id: string,
    claim: UploadClaim,
    state: State,
    nextPart: number,
    direct: (DirectDraft & { size: number }) | null = null,
  ): Promise<Row> {
    if (!this.#migrated) migrate(this.ctx.storage, UPLOAD_SESSION_MIGRATIONS);
    this.#migrated = true;
    const endsAt = claim.expiresAt + UPLOAD_ABORT_DELAY_MS;
    // Set the alarm before writing: an alarm with nothing to do is harmless, a due row without an alarm is not. Most uploads end soon.
    await this.#alarm.ringBy(Math.min(endsAt, Date.now() + ENDED_UPLOAD_KEPT_MS + ALARMS_APART_MS));
    this.#sql.exec(
      `INSERT INTO uploads (id, draft, multipart, direct, offset, tail_bytes, next_part, state, ends_at)
       VALUES (?, ?, ?, ?, 0, 0, ?, ?, ?)
       ON CONFLICT DO NOTHING`,
      id,
      direct?.draft ?? crypto.randomUUID(),
      direct?.multipart ?? null,
      direct?.size ?? null,
      nextPart,
      state,
      endsAt,
    );
    const row = this.#row(id);
    if (row === null) throw new Error('the row of an upload is missing');
    return row;
  }

  /** The caller discards the bytes. The upload is remembered until it expires, because a request may still be writing. */
  #cancel(id: string): void {
    this.#sql.exec(`UPDATE uploads SET state = 'cancelled', tail_bytes = 0, tail = NULL WHERE id = ?`, id);
    this.#tails.remove(id);
  }

  /** The parts of an upload's row with new ones added, as JSON. If there are too many, they move to a row of their own. */
  #withParts(row: Row, parts: Part[]): string {
    if (parts.length === 0) return row.parts;
    const all = [...partsIn(row.parts), ...parts];
    const text = JSON.stringify(all.map(({ number, size, etag }) => [number, size, etag]));
    if (all.length <= PARTS_IN_ROW) return text;
    const insert = 'INSERT INTO upload_part_lists (upload, first, parts) VALUES (?, ?, ?)';
    this.#sql.exec(insert, row.id, all[0]?.number ?? 0, text);
    return '[]';
  }

  /** Removes the rows of an upload in other tables. */
  #removeRows(id: string): void {
    this.#tails.remove(id);
    this.#sql.exec('DELETE FROM upload_part_lists WHERE upload = ?', id);
  }

  #open(row: Row, firstPart: number, tailMax: number): OpenUpload {
    const query = 'SELECT parts FROM upload_part_lists WHERE upload = ? ORDER BY first';
    const lists = allRows<{ parts: string }>(this.#sql, query, row.id);
    const parts = [...lists, row].flatMap((list) => partsIn(list.parts));
    // Parts from release 0.1.0 may be in any order.
    parts.sort((one, other) => one.number - other.number);
    const hash =
      row.hash === null
        ? null
        : {
            digest: row.hash as Digest,
            state: row.hash_state === null ? null : new Uint8Array(row.hash_state),
          };
    const size = row.tail_bytes;
    const tail = { size, bytes: size > 0 && size <= tailMax ? this.#tails.read(row.id) : null };
    const draft = { id: row.draft, multipart: row.multipart, parts, firstPart, tail };
    return { status: 'open', offset: row.offset, draft, hash, direct: row.direct };
  }
}

function partsIn(text: string): Part[] {
  const listed = JSON.parse(text) as [number: number, size: number, etag: string][];
  return listed.map(([number, size, etag]) => ({ number, size, etag }));
}
