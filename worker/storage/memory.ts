/**
 * What an isolate remembers of repositories. Only where one isolate is the whole registry (on one machine) is this exact: the
 * Durable Object of a repository says `changed` in the same isolate, and what is read is forgotten with every change.
 */

/** Of all that is remembered together, in bytes as the callers estimate them. */
const MEMORY_BYTES = 64 * 1024 * 1024;

const repositories = new Map<string, Map<string, unknown>>();
let bytes = 0;

/** Forgets a repository; an answer that was under way when this was called is not kept either. */
export function changed(name: string): void {
  repositories.delete(name);
}

/**
 * What is remembered of a repository under a key, or else what `ask` answers, which is then remembered for as long as the
 * repository does not change. `sizeOf` gives an answer's size in bytes, or null for one that is not to be kept.
 */
export async function remembered<T>(
  name: string,
  key: string,
  ask: () => Promise<T>,
  sizeOf: (answer: T) => number | null,
): Promise<T> {
  let known = repositories.get(name);
  if (known === undefined) {
    known = new Map();
    repositories.set(name, known);
  } else if (known.has(key)) {
    return known.get(key) as T;
  }
  const answer = await ask();
  const size = sizeOf(answer);
  if (size !== null && repositories.get(name) === known) {
    known.set(key, answer);
    bytes += size;
    if (bytes > MEMORY_BYTES) {
      repositories.clear();
      bytes = 0;
    }
  }
  return answer;
}
