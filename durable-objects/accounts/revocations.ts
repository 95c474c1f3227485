/**
 * Which access tokens are revoked. Every change has a number, its revision. A token carries the revision at which it was issued, and
 * is refused if its subject has a later one. This does not depend on clocks, which differ between machines.
 */
import { accessChanged } from '../../worker/access/access-change.ts';
import type { Revoked } from '../../worker/access/model.ts';
import { allRows, firstRow, sweepExpired } from '../rows.ts';

/** As long as an upload can be continued with a token that was issued before the revocation. */
export const REVOCATION_KEPT_MS = 3 * 24 * 3600 * 1000;
/** Revoked subjects. Beyond this number, all tokens as old as the oldest revocation are refused. */
const REVOCATIONS_MAX = 1000;

export class Revocations {
  readonly #sql: SqlStorage;
  #state: { revision: number; floor: number } | null = null;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  /** The revision of the last change. */
  revision(): number {
    return this.#current().revision;
  }

  /** Revokes the tokens that were issued to a subject before now. */
  revoke(subject: string, now: number): void {
    const { floor } = this.#current();
    const revision = this.revision() + 1;
    this.#sql.exec(
      `INSERT INTO revocations (subject, revision, expires_at) VALUES (?1, ?2, ?3)
       ON CONFLICT (subject) DO UPDATE SET revision = ?2, expires_at = ?3`,
      subject,
      revision,
      now + REVOCATION_KEPT_MS,
    );
    this.#write(revision, Math.max(floor, this.#dropSurplus()));
  }

  /** Makes isolates load the access state again after a change that concerns no single subject. */
  changed(): void {
    this.#write(this.revision() + 1, this.#current().floor);
  }

  list(): Revoked {
    const query = 'SELECT subject, revision FROM revocations ORDER BY revision';
    const rows = allRows<{ subject: string; revision: number }>(this.#sql, query);
    const subjects = Object.fromEntries(rows.map(({ subject, revision }) => [subject, revision]));
    return { ...this.#current(), subjects };
  }

  /** Removes revocations that are older than every valid token, up to EXPIRED_ROWS_AT_A_TIME. */
  sweep(now: number): void {
    sweepExpired(this.#sql, 'revocations', 'subject', now);
  }

  /** Deletes the oldest rows beyond REVOCATIONS_MAX. All tokens as old as those are refused then, and their owners log in again. */
  #dropSurplus(): number {
    const dropped = allRows<{ revision: number }>(
      this.#sql,
      `DELETE FROM revocations WHERE subject IN
         (SELECT subject FROM revocations ORDER BY revision DESC LIMIT -1 OFFSET ?) RETURNING revision`,
      REVOCATIONS_MAX,
    );
    return Math.max(0, ...dropped.map(({ revision }) => revision));
  }

  #current(): { revision: number; floor: number } {
    this.#state ??= firstRow<{ revision: number; floor: number }>(
      this.#sql,
      'SELECT revision, floor FROM access_revision WHERE id = 1',
    ) ?? { revision: 0, floor: 0 };
    return this.#state;
  }

  #write(revision: number, floor: number): void {
    this.#sql.exec(
      `INSERT INTO access_revision (id, revision, floor) VALUES (1, ?1, ?2)
       ON CONFLICT (id) DO UPDATE SET revision = ?1, floor = ?2`,
      revision,
      floor,
    );
    this.#state = { revision, floor };
    accessChanged();
  }
}
