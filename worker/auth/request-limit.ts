/**
 * The limit of requests per minute for one user, robot or address. On Cloudflare a binding counts them at each
 * location, approximately (Cloudflare docs, "Rate Limiting"). On one machine this class counts them exactly.
 */

import type { Env } from '../env.ts';

/** Users, robots and addresses that are counted on one machine at once. */
export const REQUESTERS_MAX = 50_000;

export type RequestLimit = Pick<RateLimit, 'limit'>;

const WINDOW_MS = 60_000;

/** The counter of requests; undefined without a limit. `binding` is Cloudflare's, where it is bound. */
export function requestLimit(
  binding: Env['REQUEST_LIMIT'],
  requestsPerMinute: number,
): RequestLimit | undefined {
  if (typeof binding === 'object') return binding;
  return requestsPerMinute === 0 ? undefined : new RequestCounter(requestsPerMinute);
}

/** Counts in windows of one minute, like the binding. */
export class RequestCounter implements RequestLimit {
  readonly #perMinute: number;
  readonly #counts = new Map<string, number>();
  #window = 0;

  constructor(perMinute: number) {
    this.#perMinute = perMinute;
  }

  async limit({ key }: { key: string }): Promise<{ success: boolean }> {
    const window = Math.floor(Date.now() / WINDOW_MS);
    if (window !== this.#window) this.#counts.clear();
    this.#window = window;
    const count = (this.#counts.get(key) ?? 0) + 1;
    if (count > this.#perMinute) return { success: false };
    // When there are too many keys, the oldest is forgotten for the rest of this minute.
    const [first] = this.#counts.keys();
    if (count === 1 && first !== undefined && this.#counts.size >= REQUESTERS_MAX) this.#counts.delete(first);
    this.#counts.set(key, count);
    return { success: true };
  }
}
