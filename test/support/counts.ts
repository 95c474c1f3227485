/** What requests cost: calls to bindings, and rows of Durable Objects. */

/** What went to the bindings since the last reset. */
export interface Counts {
  durableObjects: number;
  classA: number;
  classB: number;
  deletes: number;
  disk: number;
  rowsRead: number;
  rowsWritten: number;
  /** The calls by name, in order. */
  calls: string[];
  /** Rows by statement, as `Repository: INSERT INTO tags ...`. */
  statements: Record<string, { times: number; read: number; written: number }>;
}

const STATEMENT_MAX_LENGTH = 100;

export const fresh = (): Counts => ({
  durableObjects: 0,
  classA: 0,
  classB: 0,
  deletes: 0,
  disk: 0,
  rowsRead: 0,
  rowsWritten: 0,
  calls: [],
  statements: {},
});

const METHODS = {
  getAlarm: [1, 0],
  setAlarm: [0, 1],
  deleteAlarm: [0, 1],
  deleteAll: [0, 1],
} as const;

/**
 * Counts the rows that an object of a class reads and writes, as Cloudflare bills them: updates of indexes and deletes are
 * rows too, and so is every alarm that is set. Cloudflare docs, "Durable Objects: Pricing". The methods of the storage are
 * replaced in place, because the runtime takes no copy of it.
 */
export function countRows(storage: DurableObjectStorage, className: string, counts: () => Counts): void {
  const onRows = (what: string, read: number, written: number) => {
    const { statements } = counts();
    counts().rowsRead += read;
    counts().rowsWritten += written;
    const name = `${className}: ${what.replace(/\s+/g, ' ').trim().slice(0, STATEMENT_MAX_LENGTH)}`;
    const statement = statements[name] ?? { times: 0, read: 0, written: 0 };
    statement.times++;
    statement.read += read;
    statement.written += written;
    statements[name] = statement;
  };
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
