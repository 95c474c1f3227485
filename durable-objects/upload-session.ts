/**
 * UploadSession: one for each upload that is not a single PUT of a known length. It holds how far the upload is and where its
 * bytes are; the bytes themselves pass it only as the tail that does not fill a part yet. Offsets move by compare-and-swap.
 */
import { DurableObject } from 'cloudflare:workers';
import type { Env } from '../worker/env.ts';
import { type Algorithm, algorithmOf, type Digest } from '../worker/oci/digest.ts';
import { ROW_BYTES, UPLOAD_ABORT_DELAY_MS } from '../worker/oci/limits.ts';
import { blobStore, type Draft, type Part } from '../worker/storage/blobs.ts';
import type { SavedHash } from '../worker/storage/hash.ts';
import { blobKey } from '../worker/storage/key.ts';
import { shardOf } from './address.ts';
import { Alarm } from './alarm.ts';
import { hasTables, type Migration, migrate } from './migrations.ts';

/** What is known of an upload before its first chunk. */
export interface UploadStart {
  algorithm: Algorithm;
  /** Unix time, ms. */
  expiresAt: number;
}

/** An upload that may go on, as `begin` hands it out. `draft.tail` has the bytes that no part has. */
export interface OpenUpload {
  status: 'open';
  offset: number;
  draft: Draft;
  /** Null where nothing has come yet, or where it was lost. */
  hash: SavedHash | null;
}

/** `gone`: cancelled, expired or ended; `elsewhere`: the chunk does not begin at the offset. */
export type Refused = { status: 'gone' } | { status: 'elsewhere'; offset: number };

/** What a request has added. */
export interface Progress {
  from: number;
  /** The part numbers that `begin` set aside: the first, and how many. */
  firstPart: number;
  reserved: number;
  offset: number;
  multipart: string | null;
  /** Those that are new. */
  parts: Part[];
  tail: Uint8Array;
  /** Null where it was lost: the content is then read back once before it is published. */
  hash: SavedHash | null;
}

/** `again`: this is the repetition of a final PUT. `mismatch`: the content is not that of the digest; discard it. */
export type Sealed =
  | (OpenUpload & { again: boolean })
  | { status: 'mismatch'; draft: Draft }
  | { status: 'gone' }
  | { status: 'none' };

type Row = {
  draft: string;
  multipart: string | null;
  offset: number;
  next_part: number;
  hash: string | null;
  hash_state: ArrayBuffer | null;
  sealed: string | null;
  cancelled: number;
};

const MIGRATIONS: Migration[] = [
  {
    keepsOlderCode: true,
    sql: `
      CREATE TABLE IF NOT EXISTS session (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        draft TEXT NOT NULL,      -- the key under which the bytes are being written
        multipart TEXT,           -- R2's id of the multipart upload, once there is one
        offset INTEGER NOT NULL,  -- bytes received and kept
        next_part INTEGER NOT NULL,
        hash TEXT,                -- digest of all bytes up to the offset
        hash_state BLOB,          -- what lets another isolate go on hashing
        sealed TEXT,              -- the digest of the final PUT
        cancelled INTEGER NOT NULL DEFAULT 0
      );
      CREATE TABLE IF NOT EXISTS parts (number INTEGER PRIMARY KEY, size INTEGER NOT NULL, etag TEXT NOT NULL);
      CREATE TABLE IF NOT EXISTS tail (seq INTEGER PRIMARY KEY, bytes BLOB NOT NULL);
    `,
  },
];

export class UploadSession extends DurableObject<Env> {
  readonly #alarm: Alarm;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#alarm = new Alarm(ctx, { run: () => this.#end(), nextDue: () => null });
  }

  /** Bytes received, or why there are none. */
  status(): { status: 'open'; offset: number } | { status: 'gone' } | { status: 'none' } {
    const row = this.#row();
    if (row === null) return { status: 'none' };
    return row.cancelled === 1 || row.sealed !== null
      ? { status: 'gone' }
      : { status: 'open', offset: row.offset };
  }

  /**
   * Opens the upload for a chunk that begins at `at` (null: wherever it stands) and sets `reserve` part numbers aside for it.
   * Two requests may both be let in: they write parts of different numbers, and `advance` takes the first.
   */
  async begin(start: UploadStart, at: number | null, reserve: number): Promise<OpenUpload | Refused> {
    const row = this.#row() ?? (await this.#create(start));
    if (row.cancelled === 1 || row.sealed !== null) return { status: 'gone' };
    if (at !== null && at !== row.offset) return { status: 'elsewhere', offset: row.offset };
    const firstPart = row.next_part;
    this.#sql.exec('UPDATE session SET next_part = ?', firstPart + reserve);
    return this.#open(row, firstPart);
  }

  /** Takes what a chunk has added, if the offset is still where that chunk began. */
  advance(progress: Progress): { status: 'open'; offset: number } | Refused {
    return this.ctx.storage.transactionSync(() => {
      const row = this.#row();
      if (row === null || row.cancelled === 1 || row.sealed !== null) return { status: 'gone' };
      if (row.offset !== progress.from) return { status: 'elsewhere', offset: row.offset };
      for (const part of progress.parts) {
        this.#sql.exec(
          'INSERT INTO parts (number, size, etag) VALUES (?, ?, ?)',
          part.number,
          part.size,
          part.etag,
        );
      }
      this.#sql.exec('DELETE FROM tail');
      for (let seq = 0; seq * ROW_BYTES < progress.tail.length; seq++) {
        const piece = progress.tail.slice(seq * ROW_BYTES, (seq + 1) * ROW_BYTES);
        this.#sql.exec('INSERT INTO tail (seq, bytes) VALUES (?, ?)', seq, piece.buffer);
      }
      // Where nobody else has begun since, the numbers that were not needed are free again.
      const alone = row.next_part === progress.firstPart + progress.reserved;
      const lastPart = progress.parts.at(-1)?.number ?? progress.firstPart - 1;
      this.#sql.exec(
        'UPDATE session SET offset = ?, multipart = ?, hash = ?, hash_state = ?, next_part = ?',
        progress.offset,
        progress.multipart,
        progress.hash?.digest ?? null,
        progress.hash?.state?.slice().buffer ?? null,
        alone ? lastPart + 1 : row.next_part,
      );
      return { status: 'open', offset: progress.offset };
    });
  }

  /** Ends the upload for the digest of its final PUT: no chunk is taken from here on. */
  async seal(digest: Digest): Promise<Sealed> {
    const row = this.#row();
    if (row === null) return { status: 'none' };
    if (row.cancelled === 1 || (row.sealed !== null && row.sealed !== digest)) return { status: 'gone' };
    const open = this.#open(row, row.next_part);
    const known = open.hash !== null && algorithmOf(open.hash.digest) === algorithmOf(digest);
    if (known && open.hash?.digest !== digest) {
      this.#sql.exec('UPDATE session SET cancelled = 1');
      this.#sql.exec('DELETE FROM tail');
      return { status: 'mismatch', draft: open.draft };
    }
    this.#sql.exec('UPDATE session SET sealed = ?', digest);
    return { ...open, again: row.sealed === digest };
  }

  /**
   * Cancels the upload, also one that has no chunk yet, and gives what there is to discard. A sealed upload is gone: its bytes
   * may be published, and then they are no longer the upload's.
   */
  async cancel(start: UploadStart): Promise<{ status: 'cancelled'; draft: Draft } | { status: 'gone' }> {
    const row = this.#row() ?? (await this.#create(start));
    if (row.cancelled === 1 || row.sealed !== null) return { status: 'gone' };
    this.#sql.exec('UPDATE session SET cancelled = 1');
    const { draft } = this.#open(row, row.next_part);
    this.#sql.exec('DELETE FROM tail');
    return { status: 'cancelled', draft: { ...draft, tail: new Uint8Array() } };
  }

  override async alarm(): Promise<void> {
    await this.#alarm.ring();
  }

  /** The upload has expired. Whatever it wrote that was not published is discarded, then the session forgets itself. */
  async #end(): Promise<void> {
    const row = this.#row();
    if (row !== null && !(await this.#published(row))) {
      await blobStore(this.env).discard(this.#open(row, row.next_part).draft);
    }
    await this.ctx.storage.deleteAlarm();
    await this.ctx.storage.deleteAll();
  }

  /** True where the shard of the digest has taken the bytes over; it then sees to their end. */
  async #published(row: Row): Promise<boolean> {
    if (row.sealed === null) return false;
    const digest = row.sealed as Digest;
    return shardOf(this.env, digest).caresFor(digest, blobKey(row.draft));
  }

  get #sql(): SqlStorage {
    return this.ctx.storage.sql;
  }

  #row(): Row | null {
    if (!hasTables(this.#sql)) return null;
    migrate(this.ctx.storage, MIGRATIONS);
    return (
      this.#sql
        .exec<Row>(
          'SELECT draft, multipart, offset, next_part, hash, hash_state, sealed, cancelled FROM session',
        )
        .toArray()[0] ?? null
    );
  }

  async #create(start: UploadStart): Promise<Row> {
    migrate(this.ctx.storage, MIGRATIONS);
    this.#sql.exec(
      'INSERT INTO session (id, draft, offset, next_part) VALUES (1, ?, 0, 1) ON CONFLICT DO NOTHING',
      crypto.randomUUID(),
    );
    await this.ctx.storage.setAlarm(start.expiresAt + UPLOAD_ABORT_DELAY_MS);
    return this.#sql
      .exec<Row>(
        'SELECT draft, multipart, offset, next_part, hash, hash_state, sealed, cancelled FROM session',
      )
      .one();
  }

  #open(row: Row, firstPart: number): OpenUpload {
    const parts = this.#sql
      .exec('SELECT number, size, etag FROM parts ORDER BY number')
      .toArray() as unknown as Part[];
    const pieces = this.#sql.exec<{ bytes: ArrayBuffer }>('SELECT bytes FROM tail ORDER BY seq').toArray();
    const hash =
      row.hash === null
        ? null
        : {
            digest: row.hash as Digest,
            state: row.hash_state === null ? null : new Uint8Array(row.hash_state),
          };
    const draft = {
      id: row.draft,
      multipart: row.multipart,
      parts: parts.map(({ number, size, etag }) => ({ number, size, etag })),
      firstPart,
      tail: joined(pieces.map((piece) => new Uint8Array(piece.bytes))),
    };
    return { status: 'open', offset: row.offset, draft, hash };
  }
}

function joined(pieces: Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}
