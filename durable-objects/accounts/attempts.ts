/**
 * Failed logins and the delays that follow from them. They are counted in three ways: for an account from one address, for an
 * address, and for an account from anywhere. Failures are forgotten one by one with time, and the number of rows is bounded.
 */
import { clientNetwork } from '../../worker/oci/address.ts';
import { EXPIRED_ROWS_AT_A_TIME, firstRow } from '../rows.ts';

/** Failed logins without a delay: of an account from one address, of an address, and of an account from anywhere. */
export const FAILED_LOGINS_OF_PAIR = 5;
const FAILED_LOGINS_OF_ADDRESS = 20;
export const FAILED_LOGINS_OF_ACCOUNT = 50;
/** The delay after the next failure. It doubles with each further one, up to a maximum. */
export const LOGIN_WAIT_MIN_MS = 1000;
export const LOGIN_WAIT_MAX_MS = 15 * 60_000;
/** Shorter, because one user must not lock out others behind the same address for long. */
const LOGIN_WAIT_OF_ADDRESS_MAX_MS = 60_000;
/** Shorter, because an attacker at other addresses must not lock out the owner of an account for long. */
const LOGIN_WAIT_OF_ACCOUNT_MAX_MS = 30_000;
/** One failure is forgotten each time this long passes without another. */
export const FAILED_LOGIN_FORGOTTEN_MS = 3 * 60_000;
/** After a login to an account, its address is known for this long: failures from elsewhere do not delay it. */
const KNOWN_ADDRESS_MS = 30 * 24 * 3600 * 1000;
/** A login whose outcome is not reported within this time counts as ended. */
const LOGIN_UNDER_WAY_MS = 5000;
/** Rows of failed logins. Made-up names must not fill the storage. */
export const FAILED_LOGIN_ROWS_MAX = 10_000;
/** Characters of an account name that are compared. */
const FAILED_LOGIN_TEXT_MAX_LENGTH = 256;

/** For each kind of counter: the failures without a delay, and the longest delay. */
const KINDS = {
  pair: { free: FAILED_LOGINS_OF_PAIR, waitMaxMs: LOGIN_WAIT_MAX_MS },
  address: { free: FAILED_LOGINS_OF_ADDRESS, waitMaxMs: LOGIN_WAIT_OF_ADDRESS_MAX_MS },
  account: { free: FAILED_LOGINS_OF_ACCOUNT, waitMaxMs: LOGIN_WAIT_OF_ACCOUNT_MAX_MS },
  /** Counts nothing: records that a login to an account from an address succeeded. */
  known: { free: Number.POSITIVE_INFINITY, waitMaxMs: 0 },
} as const;

interface Mark {
  kind: keyof typeof KINDS;
  account: string;
  address: string;
}

export interface Standing {
  waitMs: number;
  /** There are failures that a successful login would clear. */
  hasFailed: boolean;
  /** No remembered login to the account came from this address. */
  isNew: boolean;
}

interface Row {
  failures: number;
  wait_until: number;
}

export class Attempts {
  readonly #sql: SqlStorage;
  /** Logins that are running. They are kept in memory only, because there is one instance. */
  readonly #underWay = new Map<string, number[]>();
  /** The number of rows; null before they are counted. */
  #rows: number | null = null;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  standing(account: string, address: string, now: number): Standing {
    const rows = this.#counting(account, address).map((mark) => ({ kind: mark.kind, row: this.#row(mark) }));
    const waits = rows.map(({ kind, row }) => (row === null ? 0 : waitOf(kind, row, now)));
    const pair = rows.find(({ kind }) => kind === 'pair');
    return {
      waitMs: Math.max(0, ...waits),
      hasFailed: remembered(pair?.row ?? null, now) > 0,
      isNew: pair !== undefined && rows.some(({ kind }) => kind === 'account'),
    };
  }

  /**
   * Delays the next login of an account from an address that has failed too often. Otherwise many concurrent logins would pass
   * together when one delay ends.
   */
  begin(account: string, address: string, now: number): void {
    const mark = marksOf(account, address).find(({ kind }) => kind === 'pair');
    if (mark === undefined || remembered(this.#row(mark), now) < KINDS.pair.free) return;
    this.#sql.exec(
      'UPDATE failed_logins SET wait_until = ? WHERE kind = ? AND account = ? AND address = ?',
      now + LOGIN_WAIT_MIN_MS,
      mark.kind,
      mark.account,
      mark.address,
    );
  }

  /**
   * Whether one more password may be checked now. Running checks count as failed. Otherwise many concurrent ones would all be allowed
   * before the first has failed.
   */
  mayTry(account: string, address: string, now: number): boolean {
    const marks = this.#counting(account, address);
    const mayAll = marks.every((mark) => {
      const row = this.#row(mark);
      const left = Math.max(1, KINDS[mark.kind].free - remembered(row, now));
      return (row === null || waitOf(mark.kind, row, now) <= 0) && this.#begun(mark, now).length < left;
    });
    if (!mayAll) return false;
    if (this.#underWay.size > FAILED_LOGIN_ROWS_MAX) this.#underWay.clear();
    for (const mark of marks) this.#underWay.set(keyOf(mark), [...this.#begun(mark, now), now]);
    return true;
  }

  /** Clears the failures of the account from this address. It says nothing about other accounts at the address. */
  succeeded(account: string, address: string, now: number): void {
    for (const mark of marksOf(account, address)) {
      this.#ended(mark);
      if (mark.kind !== 'pair') continue;
      this.#delete(mark);
      this.#write({ ...mark, kind: 'known' }, 0, now, now + KNOWN_ADDRESS_MS);
    }
  }

  failed(account: string, address: string, now: number): void {
    for (const mark of marksOf(account, address)) this.#ended(mark);
    for (const mark of marksOf(account, address)) this.#count(mark, now);
    // Delete the rows that would expire first, so that an attacker cannot push out his own delays with made-up names.
    const surplus = this.#total() - FAILED_LOGIN_ROWS_MAX;
    if (surplus > 0) this.#deleteFirst(surplus, Number.MAX_SAFE_INTEGER);
  }

  /** Removes expired rows, up to EXPIRED_ROWS_AT_A_TIME. */
  sweep(now: number): void {
    this.#deleteFirst(EXPIRED_ROWS_AT_A_TIME, now);
  }

  #count(mark: Mark, now: number): void {
    const { free, waitMaxMs } = KINDS[mark.kind];
    const before = this.#row(mark);
    // Stop counting at the longest delay, so that the failures are forgotten in a reasonable time.
    const most = free + Math.ceil(Math.log2(waitMaxMs / LOGIN_WAIT_MIN_MS));
    const failures = Math.min(most, remembered(before, now) + 1);
    const waitMs = failures < free ? 0 : Math.min(waitMaxMs, LOGIN_WAIT_MIN_MS * 2 ** (failures - free));
    const until = now + waitMs;
    this.#write(mark, failures, until, until + failures * FAILED_LOGIN_FORGOTTEN_MS);
  }

  #write(mark: Mark, failures: number, until: number, expiresAt: number): void {
    const total = this.#total();
    const isNew = this.#row(mark) === null;
    this.#sql.exec(
      `INSERT INTO failed_logins (kind, account, address, failures, wait_until, expires_at)
       VALUES (?1, ?2, ?3, ?4, ?5, ?6)
       ON CONFLICT DO UPDATE SET failures = ?4, wait_until = ?5, expires_at = ?6`,
      mark.kind,
      mark.account,
      mark.address,
      failures,
      until,
      expiresAt,
    );
    this.#rows = isNew ? total + 1 : total;
  }

  /** The counters that apply. After a login from an address, only failures of the same account from there cause a delay. */
  #counting(account: string, address: string): Mark[] {
    const marks = marksOf(account, address);
    const pair = marks.find(({ kind }) => kind === 'pair');
    const isKnown = pair !== undefined && this.#row({ ...pair, kind: 'known' }) !== null;
    return isKnown ? marks.filter(({ kind }) => kind === 'pair') : marks;
  }

  /** When the running logins began (Unix time, ms). */
  #begun(mark: Mark, now: number): number[] {
    return (this.#underWay.get(keyOf(mark)) ?? []).filter((at) => Math.abs(now - at) < LOGIN_UNDER_WAY_MS);
  }

  #ended(mark: Mark): void {
    const left = (this.#underWay.get(keyOf(mark)) ?? []).slice(1);
    if (left.length > 0) this.#underWay.set(keyOf(mark), left);
    else this.#underWay.delete(keyOf(mark));
  }

  #row({ kind, account, address }: Mark): Row | null {
    const query = `SELECT failures, wait_until FROM failed_logins
      WHERE kind = ? AND account = ? AND address = ?`;
    return firstRow<Row>(this.#sql, query, kind, account, address);
  }

  #delete({ kind, account, address }: Mark): void {
    const query = 'DELETE FROM failed_logins WHERE kind = ? AND account = ? AND address = ? RETURNING 1';
    const deleted = this.#sql.exec(query, kind, account, address).toArray().length;
    if (this.#rows !== null) this.#rows -= deleted;
  }

  #deleteFirst(count: number, until: number): void {
    const deleted = this.#sql
      .exec(
        `DELETE FROM failed_logins WHERE (kind, account, address) IN (
           SELECT kind, account, address FROM failed_logins WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)
         RETURNING 1`,
        until,
        count,
      )
      .toArray().length;
    if (this.#rows !== null) this.#rows -= deleted;
  }

  /** An instance counts the rows once and then keeps the number, because counting reads every row. */
  #total(): number {
    this.#rows ??= this.#sql
      .exec<{ count: number }>('SELECT COUNT(*) AS count FROM failed_logins')
      .one().count;
    return this.#rows;
  }
}

/** The counters of a login. If the address is not known, failures count for the account only. */
function marksOf(account: string, address: string): Mark[] {
  const name = account.slice(0, FAILED_LOGIN_TEXT_MAX_LENGTH);
  const network = clientNetwork(address).slice(0, FAILED_LOGIN_TEXT_MAX_LENGTH);
  // Without an account name, the credentials cannot be guessed (a token), so only the address counts.
  if (name === '') return network === '' ? [] : [{ kind: 'address', account: '', address: network }];
  const ofAccount: Mark = { kind: 'account', account: name, address: '' };
  if (network === '') return [ofAccount];
  return [
    { kind: 'pair', account: name, address: network },
    { kind: 'address', account: '', address: network },
    ofAccount,
  ];
}

function keyOf({ kind, account, address }: Mark): string {
  return JSON.stringify([kind, account, address]);
}

/** The failures that are not forgotten yet. The time counts from the end of the last delay. */
function remembered(row: Row | null, now: number): number {
  if (row === null) return 0;
  const forgotten = Math.floor(Math.max(0, now - row.wait_until) / FAILED_LOGIN_FORGOTTEN_MS);
  return Math.max(0, row.failures - forgotten);
}

/** The delay in ms. If the clock was set back, it is still not longer than the longest delay. */
function waitOf(kind: Mark['kind'], { failures, wait_until: until }: Row, now: number): number {
  const { free, waitMaxMs } = KINDS[kind];
  return failures < free ? 0 : Math.min(waitMaxMs, until - now);
}
