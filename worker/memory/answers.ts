/**
 * Answers of repositories that an isolate remembers. They are exact only if one isolate is the whole registry (on one machine): the
 * Durable Object of a repository then calls `changed` in the same isolate, and every change drops the answers.
 */
import { CountedCache, memory } from './budget.ts';

/** What the remembered answers of all repositories may use, as part of MEMORY_BYTES. */
const REMEMBERED_BYTES = 64 * 1024 * 1024;
/** Answers of one repository that are remembered. */
const REMEMBERED_ANSWERS_MAX = 1000;

/** The memory of an answer besides its key and the size that the caller gives, in bytes. */
const ANSWER_BYTES = 200;
/** Repositories with remembered answers. */
const REPOSITORIES_MAX = 20_000;

interface Remembered {
  answer: unknown;
  /** Unix time, ms. */
  until: number;
}

interface Memory {
  answers: Map<string, Remembered>;
  bytes: number;
}

const repositories = new CountedCache<Memory>(memory, { entries: REPOSITORIES_MAX, bytes: REMEMBERED_BYTES });

/** Drops the answers of a repository, also those that are still being read. */
export function changed(name: string): void {
  repositories.delete(name);
}

/**
 * The remembered answer of a repository under a key, or else the answer of `ask`. It is remembered until the repository changes, or
 * until the time of `untilOf` (Unix time, ms; null for no end). `sizeOf` returns the size of an answer in bytes, or null for an
 * answer that must not be remembered.
 */
export async function remembered<T>(
  name: string,
  key: string,
  ask: () => Promise<T>,
  sizeOf: (answer: T) => number | null,
  untilOf: (answer: T) => number | null = () => null,
): Promise<T> {
  let known = repositories.get(name);
  if (known === undefined) {
    known = { answers: new Map(), bytes: 0 };
    repositories.set(name, known, 0);
  }
  const kept = known.answers.get(key);
  if (kept !== undefined && kept.until > Date.now()) return kept.answer as T;
  const answer = await ask();
  const size = sizeOf(answer);
  // If the entry was replaced or dropped, the repository has changed meanwhile.
  if (repositories.get(name) !== known) return answer;
  const isNew = !known.answers.has(key);
  const isFull = isNew && known.answers.size >= REMEMBERED_ANSWERS_MAX;
  if (size === null || isFull) {
    // Made-up names leave nothing. If there are too many answers, all are dropped, and the popular ones soon come back.
    if (known.answers.size === 0 || isFull) repositories.delete(name);
    return answer;
  }
  known.answers.set(key, { answer, until: untilOf(answer) ?? Number.POSITIVE_INFINITY });
  if (isNew) known.bytes += size + 2 * key.length + ANSWER_BYTES;
  repositories.set(name, known, known.bytes);
  return answer;
}
