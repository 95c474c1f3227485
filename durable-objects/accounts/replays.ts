/** Tokens of issuers that were exchanged: each is taken once, and remembered for as long as it could be shown again. */
import { CLOCK_SKEW_S } from '../../worker/oci/limits.ts';
import { allRows, EXPIRED_ROWS_AT_A_TIME } from '../rows.ts';

export class Replays {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  /** True the first time. False also for one that has expired: it cannot be told whether it was shown before. */
  consume(id: string, expiresAt: number, now: number): boolean {
    const forgottenAt = this.forgottenAt(expiresAt);
    if (forgottenAt <= now) return false;
    const query = 'INSERT INTO consumed (id, expires_at) VALUES (?, ?) ON CONFLICT DO NOTHING RETURNING 1';
    return allRows(this.#sql, query, id, forgottenAt).length === 1;
  }

  /** Clocks may be apart: a token is taken a little after its end. */
  forgottenAt(expiresAt: number): number {
    return expiresAt + CLOCK_SKEW_S * 1000;
  }

  /** Removes what is expired, some at a time. */
  sweep(now: number): void {
    this.#sql.exec(
      `DELETE FROM consumed WHERE id IN
         (SELECT id FROM consumed WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)`,
      now,
      EXPIRED_ROWS_AT_A_TIME,
    );
  }
}
