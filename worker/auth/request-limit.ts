/**
 * How many requests a minute one user, robot or address may send. On Cloudflare a binding counts them, at each location and
 * roughly (Cloudflare docs, "Rate Limiting"). On one machine they are counted here, exactly.
 */

import type { Env } from '../env.ts';
import { REQUESTERS_MAX } from '../oci/limits.ts';

export type RequestLimit = Pick<RateLimit, 'limit'>;

const WINDOW_MS = 60_000;

/** What counts requests; undefined for no limit. `binding` is that of Cloudflare, where there is one. */
export function requestLimit(
  binding: Env['REQUEST_LIMIT'],
  requestsPerMinute: number,
): RequestLimit | undefined {
  if (typeof binding === 'object') return binding;
  return requestsPerMinute === 0 ? undefined : new RequestCounter(requestsPerMinute);
}

/** Counts in windows of a minute, as the binding does. */
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
    // The first that came is the first to be forgotten, for the rest of this minute.
    const [first] = this.#counts.keys();
    if (count === 1 && first !== undefined && this.#counts.size >= REQUESTERS_MAX) this.#counts.delete(first);
    this.#counts.set(key, count);
    return { success: true };
  }
}
