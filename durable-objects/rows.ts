/** Reads rows of a Durable Object's SQLite as values of a type. The caller must name the type that its query returns. */
import type { Listing } from '../worker/oci/page.ts';

/** Expired rows are removed this many at a time, so that a request never waits long. */
export const EXPIRED_ROWS_AT_A_TIME = 1000;

export function allRows<Row extends object>(
  sql: SqlStorage,
  query: string,
  ...values: SqlStorageValue[]
): Row[] {
  return sql.exec(query, ...values).toArray() as Row[];
}

export function firstRow<Row extends object>(
  sql: SqlStorage,
  query: string,
  ...values: SqlStorageValue[]
): Row | null {
  return allRows<Row>(sql, query, ...values)[0] ?? null;
}

/** Removes expired rows of a table with a column and an index `expires_at`, up to EXPIRED_ROWS_AT_A_TIME. */
export function sweepExpired(sql: SqlStorage, table: string, key: string, now: number): void {
  sql.exec(
    `DELETE FROM ${table} WHERE ${key} IN
       (SELECT ${key} FROM ${table} WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)`,
    now,
    EXPIRED_ROWS_AT_A_TIME,
  );
}

/** One page of a list. The query must read `count + 1` entries, so that it is known whether there are more. */
export function pageOf<T>(entries: T[], count: number): Listing<T> {
  return { entries: entries.slice(0, count), more: entries.length > count };
}
