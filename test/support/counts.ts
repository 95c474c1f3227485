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
  /** Those of both that no call asked for: of alarms, and of objects that started for theirs. */
  apart: { read: number; written: number };
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
  apart: { read: 0, written: 0 },
  calls: [],
  statements: {},
});

const METHODS = {
  getAlarm: [1, 0],
  setAlarm: [0, 1],
  deleteAlarm: [0, 1],
  deleteAll: [0, 1],
} as const;

/** Counts the rows of one object. */
export class RowMeter {
  readonly #className: string;
  readonly #counts: () => Counts;
  /** What it counts for; another at each reset. */
  #current: Counts | null = null;
  /** Rows of the time before anything called the object: it starts for a call or for its alarm. */
  #uncalled = { read: 0, written: 0 };
  #isCalled = false;
  isRinging = false;

  constructor(className: string, counts: () => Counts) {
    this.#className = className;
    this.#counts = counts;
  }

  /** A method was called. */
  called(): void {
    const { apart } = this.#begin();
    if (this.#isCalled) return;
    this.#isCalled = true;
    apart.read -= this.#uncalled.read;
    apart.written -= this.#uncalled.written;
  }

  /** `what` is the statement, or the method of the storage. */
  add(what: string, read: number, written: number): void {
    const counts = this.#begin();
    counts.rowsRead += read;
    counts.rowsWritten += written;
    if (this.isRinging || !this.#isCalled) {
      counts.apart.read += read;
      counts.apart.written += written;
      if (!this.isRinging) {
        this.#uncalled.read += read;
        this.#uncalled.written += written;
      }
    }
    const name = `${this.#className}: ${what.replace(/\s+/g, ' ').trim().slice(0, STATEMENT_MAX_LENGTH)}`;
    const statement = counts.statements[name] ?? { times: 0, read: 0, written: 0 };
    statement.times++;
    statement.read += read;
    statement.written += written;
    counts.statements[name] = statement;
  }

  #begin(): Counts {
    const counts = this.#counts();
    if (counts === this.#current) return counts;
    this.#current = counts;
    this.#uncalled = { read: 0, written: 0 };
    this.#isCalled = false;
    return counts;
  }
}

/**
 * Counts the rows that an object reads and writes, as Cloudflare bills them: updates of indexes and deletes are rows too, and
 * so is every alarm that is set. Cloudflare docs, "Durable Objects: Pricing". The methods of the storage are replaced in
 * place, because the runtime takes no copy of it.
 */
export function countRows(storage: DurableObjectStorage, meter: RowMeter): void {
  const { sql } = storage;
  const exec = sql.exec.bind(sql);
  sql.exec = ((query: string, ...values: SqlStorageValue[]) => {
    const cursor = exec(query, ...values);
    // A cursor knows its rows when they were taken from it, which the caller does before anything else runs.
    queueMicrotask(() => meter.add(query, cursor?.rowsRead ?? 0, cursor?.rowsWritten ?? 0));
    return cursor;
  }) as typeof sql.exec;
  for (const [name, [read, written]] of Object.entries(METHODS)) {
    const method = storage[name as keyof typeof METHODS];
    const counted = (...args: unknown[]) => {
      meter.add(name, read, written);
      return Reflect.apply(method, storage, args);
    };
    Object.defineProperty(storage, name, { value: counted, configurable: true });
  }
}
