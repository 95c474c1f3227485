/**
 * AuditLog: one for the registry. It keeps what was done and refused, for a set time. Events come in about the order of
 * their time, so that the oldest are those of the lowest ids.
 */
import { DurableObject } from 'cloudflare:workers';
import type { AuditEvent } from '../worker/auth/rules/rules.ts';
import type { Env } from '../worker/env.ts';
import { AUDIT_SWEEP_MS, AUDIT_TEXT_MAX_LENGTH, EXPIRED_ROWS_AT_A_TIME } from '../worker/oci/limits.ts';
import type { Listing } from '../worker/oci/page.ts';
import { Alarm } from './alarm.ts';
import { retentionMs } from './audit-retention.ts';
import { type Migration, migrate } from './migrations.ts';
import { allRows, firstRow, pageOf } from './rows.ts';

/** Which events are listed: newest first, of ids below `before`, and only those of what is given. */
export interface AuditQuery {
  before: number | null;
  count: number;
  actor?: string | undefined;
  repository?: string | undefined;
  decision?: AuditEvent['decision'] | undefined;
}

export type ListedEvent = AuditEvent & { id: number };

// Most events are allowed: those that are not have an index, and to look for the others needs none.
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
];

export class AuditLog extends DurableObject<Env> {
  readonly #retentionMs: number;
  readonly #alarm: Alarm;
  /** Whether the last pass found something, so that there may be more. */
  #hasSwept = false;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    migrate(ctx.storage, MIGRATIONS);
    this.#retentionMs = retentionMs(env.AUDIT_DAYS);
    this.#alarm = new Alarm(ctx, {
      run: (now) => this.#sweep(now),
      nextDue: (now) => this.#nextSweep(now),
    });
    this.#alarm.check();
  }

  /** Takes all events, or none. */
  async record(events: AuditEvent[]): Promise<void> {
    const now = Date.now();
    // The time of the oldest: the setting may have been longer when the alarm was set.
    await this.#alarm.ringBy(Math.max(now, (this.#oldest() ?? now) + this.#retentionMs));
    this.ctx.storage.transactionSync(() => {
      for (const event of events) this.#insert(event, now);
    });
  }

  list({ before, count, actor, repository, decision }: AuditQuery): Listing<ListedEvent> {
    const conditions: string[] = [];
    const values: (string | number)[] = [];
    const filter = (condition: string, value: string | number | null | undefined) => {
      if (value === undefined || value === null) return;
      conditions.push(condition);
      values.push(value);
    };
    filter('id < ?', before);
    filter('actor = ?', actor);
    filter('repository = ?', repository);
    filter(decision === 'allowed' ? 'decision = ?' : "decision = ? AND decision <> 'allowed'", decision);
    const where = conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`;
    const query = `SELECT * FROM events ${where} ORDER BY id DESC LIMIT ?`;
    return pageOf(allRows<ListedEvent>(this.ctx.storage.sql, query, ...values, count + 1), count);
  }

  override async alarm(): Promise<void> {
    await this.#alarm.ring();
  }

  /** Removes the oldest events whose time is over, some at a time. */
  #sweep(now: number): void {
    this.#hasSwept =
      allRows(
        this.ctx.storage.sql,
        `DELETE FROM events WHERE id IN
           (SELECT id FROM (SELECT id, at FROM events ORDER BY id LIMIT ?) WHERE at <= ?) RETURNING 1`,
        EXPIRED_ROWS_AT_A_TIME,
        now - this.#retentionMs,
      ).length > 0;
  }

  /** Events that end one after another are removed in one pass. */
  #nextSweep(now: number): number | null {
    const oldest = this.#oldest();
    if (oldest === null) return null;
    const dueAt = oldest + this.#retentionMs;
    const isMoreDue = this.#hasSwept && dueAt <= now;
    return isMoreDue ? now : Math.max(dueAt, now + AUDIT_SWEEP_MS);
  }

  /** No row is near the largest that there may be, whatever was sent. A clock that runs ahead must not keep the log. */
  #insert(event: AuditEvent, now: number): void {
    const texts = [
      event.actor,
      event.action,
      event.repository,
      event.reference,
      event.address,
      event.userAgent,
      event.decision,
      event.rule,
      event.requestId,
    ].map((text) => text?.slice(0, AUDIT_TEXT_MAX_LENGTH) ?? null);
    this.ctx.storage.sql.exec(
      `INSERT INTO events (at, actor, action, repository, reference, address, userAgent, decision, rule, requestId)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      Math.min(event.at, now),
      ...texts,
    );
  }

  #oldest(): number | null {
    const query = 'SELECT at FROM events ORDER BY id LIMIT 1';
    return firstRow<{ at: number }>(this.ctx.storage.sql, query)?.at ?? null;
  }
}
