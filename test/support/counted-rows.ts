/**
 * Counts the rows that a Durable Object reads and writes, as Cloudflare bills them: updates of indexes and deletes are rows
 * too, and so is every alarm that is set. Cloudflare docs, "Durable Objects: Pricing".
 */

/** `what` is the statement, or the method of the storage. */
export type OnRows = (what: string, read: number, written: number) => void;

const METHODS = {
  getAlarm: [1, 0],
  setAlarm: [0, 1],
  deleteAlarm: [0, 1],
  deleteAll: [0, 1],
} as const;

/** The storage tells `onRows` from now on. Its methods are replaced in place: a copy of the storage would be no storage. */
export function countRows(storage: DurableObjectStorage, onRows: OnRows): void {
  const { sql } = storage;
  const exec = sql.exec.bind(sql);
  sql.exec = ((query: string, ...values: SqlStorageValue[]) => {
    const cursor = exec(query, ...values);
    // A cursor knows its rows when they were taken from it, which the caller does before anything else runs.
    queueMicrotask(() => onRows(query, cursor?.rowsRead ?? 0, cursor?.rowsWritten ?? 0));
    return cursor;
  }) as typeof sql.exec;
  for (const [name, [read, written]] of Object.entries(METHODS)) {
    const method = storage[name as keyof typeof METHODS];
    const counted = (...args: unknown[]) => {
      onRows(name, read, written);
      return Reflect.apply(method, storage, args);
    };
    Object.defineProperty(storage, name, { value: counted, configurable: true });
  }
}
