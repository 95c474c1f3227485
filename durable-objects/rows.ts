/** Reading rows of a Durable Object's SQLite as values of a type that the caller knows from its query. */
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

/** One page of a list, of entries of which one more was asked for than the page takes. */
export function pageOf<T>(entries: T[], count: number): Listing<T> {
  return { entries: entries.slice(0, count), more: entries.length > count };
}
