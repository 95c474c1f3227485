/** Tokens of trusted issuers that were exchanged. Each is accepted once, and remembered for as long as it is valid. */
import { CLOCK_SKEW_S } from '../../worker/oci/limits.ts';
import { allRows, sweepExpired } from '../rows.ts';

export class Replays {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  /** True the first time. False also for an expired token, because its row may have been removed. */
  consume(id: string, expiresAt: number, now: number): boolean {
    const forgottenAt = this.forgottenAt(expiresAt);
    if (forgottenAt <= now) return false;
    const query = 'INSERT INTO consumed (id, expires_at) VALUES (?, ?) ON CONFLICT DO NOTHING RETURNING 1';
    return allRows(this.#sql, query, id, forgottenAt).length === 1;
  }

  /** Clocks differ, so a token is accepted until a little after its expiry. */
  forgottenAt(expiresAt: number): number {
    return expiresAt + CLOCK_SKEW_S * 1000;
  }

  /** Removes expired rows, up to EXPIRED_ROWS_AT_A_TIME. */
  sweep(now: number): void {
    sweepExpired(this.#sql, 'consumed', 'id', now);
  }
}
