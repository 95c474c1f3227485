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

/** One page of a list. The query must read `count + 1` entries, so that it is known whether there are more. */
export function pageOf<T>(entries: T[], count: number): Listing<T> {
  return { entries: entries.slice(0, count), more: entries.length > count };
}
