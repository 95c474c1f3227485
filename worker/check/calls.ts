/** How many calls one request of the check makes to objects and to the store. A request on Cloudflare's Free plan may make 50. */

/** Some calls of a request are for the log-in and the audit log. */
export const CALLS_DEFAULT = 40;
export const CALLS_MIN = 10;
export const CALLS_MAX = 900;

/** Calls of a request to the catalog, for the names of repositories: at its beginning, and at the end of the list. */
const CATALOG_CALLS = 2;

export class Calls {
  #left: number;

  constructor(count: number) {
    this.#left = count - CATALOG_CALLS;
  }

  /** False if there are fewer left. */
  take(count = 1): boolean {
    if (count > this.#left) return false;
    this.#left -= count;
    return true;
  }
}
