/**
 * Pages of a list: `n` and `last` as a client sends them, and the Link to the next page.
 * Distribution spec, "Listing Tags".
 */
import { OciError } from './errors.ts';
import { PAGE_DEFAULT, PAGE_MAX } from './limits.ts';

/** Up to `count` entries that come after `last`, in lexical order. */
export interface Page {
  count: number;
  last: string | null;
}

/** One page of a list. `more` is true where another page follows. */
export interface Listing<T> {
  entries: T[];
  more: boolean;
  /** Where the next page starts, if that is not the last entry. */
  last?: string | null;
}

/** Throws PAGINATION_NUMBER_INVALID. A number over the maximum is served as the maximum, with a Link. */
export function parsePage(query: URLSearchParams): Page {
  const n = query.get('n');
  const last = query.get('last');
  if (n === null) return { count: PAGE_DEFAULT, last };
  if (!/^\d+$/.test(n)) {
    throw new OciError('PAGINATION_NUMBER_INVALID', { detail: { n: n.slice(0, 64) } });
  }
  return { count: Math.min(Number(n), PAGE_MAX), last };
}

/** The header of a page that has a successor: RFC 8288, relative to the host that was asked. */
export function linkHeader(path: string, query: Record<string, string>): string {
  return `<${path}?${new URLSearchParams(query)}>; rel="next"`;
}
