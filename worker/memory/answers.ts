/**
 * What an isolate remembers of repositories. Only where one isolate is the whole registry (on one machine) is this exact: the
 * Durable Object of a repository says `changed` in the same isolate, and what is read is forgotten with every change.
 */
import { CountedCache, memory } from './budget.ts';

/** What the remembered answers of all repositories may use, as part of MEMORY_BYTES. */
const REMEMBERED_BYTES = 64 * 1024 * 1024;
/** Answers of one repository that are remembered. */
const REMEMBERED_ANSWERS_MAX = 1000;

/** What remembering an answer costs beside its key and what the caller says, in bytes. */
const ANSWER_BYTES = 200;
/** Repositories of which something is remembered. */
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

/** Forgets a repository; an answer that was under way when this was called is not kept either. */
export function changed(name: string): void {
  repositories.delete(name);
}

/**
 * What is remembered of a repository under a key, or else what `ask` answers, which is then remembered for as long as the
 * repository does not change, but no longer than until the time that `untilOf` gives (Unix time, ms; null for no end). `sizeOf`
 * gives an answer's size in bytes, or null for one that is not to be kept.
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
  // Another memory, or none, says that the repository has changed meanwhile.
  if (repositories.get(name) !== known) return answer;
  const isNew = !known.answers.has(key);
  const isFull = isNew && known.answers.size >= REMEMBERED_ANSWERS_MAX;
  if (size === null || isFull) {
    // Names that are made up leave nothing. Where there are too many answers, those that are asked for are soon back.
    if (known.answers.size === 0 || isFull) repositories.delete(name);
    return answer;
  }
  known.answers.set(key, { answer, until: untilOf(answer) ?? Number.POSITIVE_INFINITY });
  if (isNew) known.bytes += size + 2 * key.length + ANSWER_BYTES;
  repositories.set(name, known, known.bytes);
  return answer;
}
