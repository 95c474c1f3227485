/**
 * What an isolate remembers of repositories. Only where one isolate is the whole registry (on one machine) is this exact: the
 * Durable Object of a repository says `changed` in the same isolate, and what is read is forgotten with every change.
 */

/** Of all that is remembered together, in bytes as the callers estimate them. */
const MEMORY_BYTES = 64 * 1024 * 1024;
/** What a repository costs of which nothing is remembered: names are asked for that do not exist. */
const REPOSITORY_BYTES = 1000;

interface Remembered {
  answer: unknown;
  /** Unix time, ms. */
  until: number;
}

interface Memory {
  answers: Map<string, Remembered>;
  bytes: number;
}

const repositories = new Map<string, Memory>();
let total = 0;

/** Forgets a repository; an answer that was under way when this was called is not kept either. */
export function changed(name: string): void {
  total -= repositories.get(name)?.bytes ?? 0;
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
  let memory = repositories.get(name);
  if (memory === undefined) {
    memory = { answers: new Map(), bytes: 0 };
    repositories.set(name, memory);
    grow(memory, REPOSITORY_BYTES);
  }
  const kept = memory.answers.get(key);
  if (kept !== undefined && kept.until > Date.now()) return kept.answer as T;
  const answer = await ask();
  const size = sizeOf(answer);
  // Another memory, or none, says that the repository has changed meanwhile.
  if (size !== null && repositories.get(name) === memory) {
    const isNew = !memory.answers.has(key);
    memory.answers.set(key, { answer, until: untilOf(answer) ?? Number.POSITIVE_INFINITY });
    if (isNew) grow(memory, size);
  }
  return answer;
}

/** Forgets everything where it has become too much: what is asked for often is soon back. */
function grow(memory: Memory, bytes: number): void {
  memory.bytes += bytes;
  total += bytes;
  if (total <= MEMORY_BYTES) return;
  repositories.clear();
  total = 0;
}
