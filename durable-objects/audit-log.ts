/**
 * The class of the AuditLog object. A row holds the events that an isolate sent together, as JSON, and there is no index. So a
 * message costs one row, however many events it has. A list reads the rows from the newest to the oldest.
 */

import { DurableObject } from 'cloudflare:workers';
import type { AuditEvent } from '../worker/access/model.ts';
import { AUDIT_TEXT_MAX_LENGTH } from '../worker/access/model.ts';
import type { Env } from '../worker/env.ts';
import type { AuditLogObject, AuditPage, AuditQuery, ListedEvent } from '../worker/objects/audit-log.ts';
import { AUDIT_MAX, parseSettingOr } from '../worker/settings.ts';
import { Alarm } from './alarm.ts';
import {
  AUDIT_MAX_BYTES,
  AUDIT_REFUSAL_ROWS_A_MINUTE,
  AUDIT_ROW_EVENTS_MAX,
  AUDIT_ROW_MAX_LENGTH,
  AUDIT_SCAN_MAX_LENGTH,
  AUDIT_SCAN_ROWS_MAX,
  AUDIT_SWEEP_MS,
} from './audit-limits.ts';
import { type Migration, migrate } from './migrations.ts';
import { allRows, EXPIRED_ROWS_AT_A_TIME, firstRow } from './rows.ts';

const MIGRATIONS: Migration[] = [
  {
    keepsOlderCode: true,
    sql: `
      CREATE TABLE IF NOT EXISTS events (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at INTEGER NOT NULL,
        actor TEXT NOT NULL,
        action TEXT NOT NULL,
        repository TEXT,
        reference TEXT,
        address TEXT NOT NULL,
        userAgent TEXT NOT NULL,
        decision TEXT NOT NULL,
        rule TEXT NOT NULL,
        requestId TEXT NOT NULL
      );
      CREATE INDEX IF NOT EXISTS events_actor ON events (actor);
      CREATE INDEX IF NOT EXISTS events_repository ON events (repository) WHERE repository IS NOT NULL;
      CREATE INDEX IF NOT EXISTS events_refused ON events (decision) WHERE decision <> 'allowed';
    `,
  },
  {
    // Release 0.1.0 wrote a row and its indexes for each event. Those rows are read until they expire.
    keepsOlderCode: true,
    sql: `
      CREATE TABLE batches (
        id INTEGER PRIMARY KEY,
        at INTEGER NOT NULL, -- when it was written
        events TEXT NOT NULL -- JSON: what an isolate sent together
      );
      DROP INDEX IF EXISTS events_actor;
      DROP INDEX IF EXISTS events_repository;
      DROP INDEX IF EXISTS events_refused;
    `,
  },
];

/** The older table first: its events are older than those of all batches. */
const TABLES = ['events', 'batches'] as const;

/** The id of an event is made of its batch and its place there. Batches begin above all ids of the older table. */
const FIRST_BATCH = 1_000_000;
const DAY_MS = 24 * 3600 * 1000;
const NEVER = Number.MAX_SAFE_INTEGER;
const idOf = (batch: number, place: number) => batch * AUDIT_ROW_EVENTS_MAX + place;

export class AuditLog extends DurableObject<Env> implements AuditLogObject {
  readonly #retentionMs: number;
  readonly #alarm: Alarm;
  /** Whether the last alarm deleted rows, so that there may be more. */
  #hasSwept = false;
  readonly #rowsMax: number;
  /** Rows that have only refusals: how many were written in this minute, and how many events were left out. */
  #refusals = { minute: 0, rows: 0, leftOut: 0 };

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    migrate(ctx.storage, MIGRATIONS);
    this.#retentionMs = parseSettingOr('AUDIT_DAYS', env.AUDIT_DAYS, AUDIT_MAX.days) * DAY_MS;
    this.#rowsMax = parseSettingOr('AUDIT_ROWS_MAX', env.AUDIT_ROWS_MAX, AUDIT_MAX.rows);
    this.#alarm = new Alarm(ctx, {
      run: (now) => this.#sweep(now),
      nextDue: (now) => this.#nextSweep(now),
    });
    this.#alarm.check();
  }

  async record(events: AuditEvent[]): Promise<void> {
    const now = Date.now();
    const kept = this.#withinLimit(events, now).map((event) => shortened(event, now));
    if (kept.length === 0) return;
    // Use the time of the oldest row, because the setting may have been longer when the alarm was set.
    await this.#alarm.ringBy(Math.max(now, (this.#oldest() ?? now) + this.#retentionMs));
    this.ctx.storage.transactionSync(() => {
      kept.push(...this.#makeRoom(now));
      for (const text of rowsOf(kept)) {
        const id = `(SELECT COALESCE(MAX(id), ${FIRST_BATCH}) + 1 FROM batches)`;
        this.ctx.storage.sql.exec(`INSERT INTO batches (id, at, events) VALUES (${id}, ?, ?)`, now, text);
      }
    });
  }

  list({ before, count, ...filter }: AuditQuery): AuditPage {
    const entries: ListedEvent[] = [];
    const scanned = { rows: 0, length: 0 };
    for (const events of this.#batchesBefore(before ?? Number.MAX_SAFE_INTEGER, scanned)) {
      for (const event of events.filter((event) => isWanted(event, filter))) {
        if (entries.length === count) return { entries, next: entries.at(-1)?.id ?? null };
        entries.push(event);
      }
      const last = events.at(-1);
      const isEnough = scanned.rows >= AUDIT_SCAN_ROWS_MAX || scanned.length >= AUDIT_SCAN_MAX_LENGTH;
      if (isEnough && last !== undefined) return { entries, next: last.id };
    }
    return { entries, next: null };
  }

  override async alarm(): Promise<void> {
    await this.#alarm.ring();
  }

  /** Removes the oldest expired rows, up to EXPIRED_ROWS_AT_A_TIME. */
  #sweep(now: number): void {
    this.#hasSwept = this.#deleteOldest(EXPIRED_ROWS_AT_A_TIME, now - this.#retentionMs).rows > 0;
  }

  /** The delay lets one alarm delete many rows. */
  #nextSweep(now: number): number | null {
    const oldest = this.#oldest();
    if (oldest === null) return null;
    const dueAt = oldest + this.#retentionMs;
    const isMoreDue = this.#hasSwept && dueAt <= now;
    return isMoreDue ? now : Math.max(dueAt, now + AUDIT_SWEEP_MS);
  }

  /** The events of each row before an id, newest first. Reads a row only when the caller asks for it. */
  *#batchesBefore(before: number, scanned: { rows: number; length: number }): Generator<ListedEvent[]> {
    const { sql } = this.ctx.storage;
    const batches = sql.exec<{ id: number; events: string }>(
      'SELECT id, events FROM batches WHERE id <= ? ORDER BY id DESC',
      Math.floor(before / AUDIT_ROW_EVENTS_MAX),
    );
    for (const { id, events } of batches) {
      scanned.rows++;
      scanned.length += events.length;
      const listed = (JSON.parse(events) as AuditEvent[]).map((event, place) => ({
        ...event,
        id: idOf(id, place),
      }));
      yield listed.filter((event) => event.id < before).reverse();
    }
    const old = sql.exec(
      `SELECT id, at, actor, action, repository, reference, address, userAgent, decision, rule, requestId
       FROM events WHERE id < ? ORDER BY id DESC`,
      before,
    ) as Iterable<unknown> as Iterable<Omit<ListedEvent, 'count' | 'examples'>>;
    for (const event of old) {
      scanned.rows++;
      yield [{ ...event, count: 1, examples: [] }];
    }
  }

  /** Leaves out refusals beyond the limit of a minute, and adds an event that says so to the next row. */
  #withinLimit(events: AuditEvent[], now: number): AuditEvent[] {
    const minute = Math.floor(now / 60_000);
    if (this.#refusals.minute !== minute) this.#refusals = { ...this.#refusals, minute, rows: 0 };
    const refusals = this.#refusals;
    if (events.every(({ decision }) => decision !== 'allowed')) {
      refusals.rows++;
      if (refusals.rows > AUDIT_REFUSAL_ROWS_A_MINUTE) {
        if (refusals.rows === AUDIT_REFUSAL_ROWS_A_MINUTE + 1)
          console.warn('the audit log gets too many refusals: it only counts the rest of this minute');
        refusals.leftOut += events.reduce((sum, { count }) => sum + count, 0);
        return [];
      }
    }
    const { leftOut } = refusals;
    if (leftOut === 0) return events;
    refusals.leftOut = 0;
    const why = `more than ${AUDIT_REFUSAL_ROWS_A_MINUTE} rows of refusals came in a minute`;
    return [...events, dropEvent(now, leftOut, `${leftOut} refusals were not written`, why)];
  }

  /** Deletes the oldest rows if the log is full, and returns the event that says so. */
  #makeRoom(now: number): AuditEvent[] {
    const { sql } = this.ctx.storage;
    // Only the oldest rows are ever deleted, so the ids have no gaps. MIN and MAX read one row each.
    const count = 'SELECT (SELECT MAX(id) FROM batches) - (SELECT MIN(id) FROM batches) + 1 AS rows';
    const rows = firstRow<{ rows: number | null }>(sql, count)?.rows ?? 0;
    const hasTooMany = rows >= this.#rowsMax;
    if (!hasTooMany && sql.databaseSize < AUDIT_MAX_BYTES) return [];
    const deleted = this.#deleteOldest(
      Math.min(EXPIRED_ROWS_AT_A_TIME, Math.ceil(this.#rowsMax / 10)),
      NEVER,
    );
    const until = new Date(deleted.until).toISOString();
    const why = hasTooMany
      ? `AUDIT_ROWS_MAX is ${this.#rowsMax}`
      : 'the log has as many bytes as it may have';
    return [dropEvent(now, deleted.rows, `${deleted.rows} rows until ${until} were deleted`, why)];
  }

  /** Deletes the oldest rows that were written until a time. Both tables have `id` and `at`. */
  #deleteOldest(count: number, writtenUntil: number): { rows: number; until: number } {
    let rows = 0;
    let until = 0;
    for (const table of TABLES) {
      const deleted = allRows<{ at: number }>(
        this.ctx.storage.sql,
        `DELETE FROM ${table} WHERE id IN
           (SELECT id FROM (SELECT id, at FROM ${table} ORDER BY id LIMIT ?) WHERE at <= ?) RETURNING at`,
        count - rows,
        writtenUntil,
      );
      rows += deleted.length;
      until = deleted.reduce((latest, { at }) => Math.max(latest, at), until);
    }
    return { rows, until };
  }

  #oldest(): number | null {
    const times = TABLES.map((table) =>
      firstRow<{ at: number }>(this.ctx.storage.sql, `SELECT at FROM ${table} ORDER BY id LIMIT 1`),
    ).flatMap((row) => (row === null ? [] : [row.at]));
    return times.length === 0 ? null : Math.min(...times);
  }
}

function isWanted(event: AuditEvent, filter: Omit<AuditQuery, 'before' | 'count'>): boolean {
  const { actor = event.actor, repository = event.repository, decision = event.decision } = filter;
  return event.actor === actor && event.repository === repository && event.decision === decision;
}

/** An event about the log itself. */
function dropEvent(at: number, count: number, reference: string, rule: string): AuditEvent {
  return {
    at,
    actor: 'registry',
    action: 'audit.drop',
    repository: null,
    reference,
    address: '',
    userAgent: '',
    decision: 'allowed',
    rule,
    requestId: '',
    count,
    examples: [],
  };
}

/** The events as JSON, in as many rows as they need. */
function rowsOf(events: AuditEvent[]): string[] {
  const rows: string[][] = [];
  let length = Number.POSITIVE_INFINITY;
  for (const text of events.map((event) => JSON.stringify(event))) {
    length += text.length;
    if (length > AUDIT_ROW_MAX_LENGTH || (rows.at(-1)?.length ?? 0) >= AUDIT_ROW_EVENTS_MAX) {
      rows.push([]);
      length = text.length;
    }
    rows.at(-1)?.push(text);
  }
  return rows.map((texts) => `[${texts.join(',')}]`);
}

/** Cuts long texts. If the clock of an isolate is ahead, the event still does not get a time in the future. */
function shortened(event: AuditEvent, now: number): AuditEvent {
  const short = (text: string) => text.slice(0, AUDIT_TEXT_MAX_LENGTH);
  const { repository, reference } = event;
  return {
    at: Math.min(event.at, now),
    actor: short(event.actor),
    action: short(event.action),
    repository: repository === null ? null : short(repository),
    reference: reference === null ? null : short(reference),
    address: short(event.address),
    userAgent: short(event.userAgent),
    decision: event.decision,
    rule: short(event.rule),
    requestId: short(event.requestId),
    count: event.count,
    examples: event.examples.map(short),
  };
}
