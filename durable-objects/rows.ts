/** Reading rows of a Durable Object's SQLite as values of a type that the caller knows from its query. */

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
