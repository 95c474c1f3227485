/** Responses that are pages of a list, with a Link to the next page (RFC 8288). */
import { linkHeader } from '../oci/page.ts';
import type { OperationResult } from './operation.ts';

/** `next` are the query parameters of the next page; null on the last page. */
export function pageOfList(
  request: Request,
  body: unknown,
  next: Record<string, string> | null,
): OperationResult {
  if (next === null) return { body };
  const url = new URL(request.url);
  const query = { ...Object.fromEntries(url.searchParams), ...next };
  return { body, headers: { Link: linkHeader(url.pathname, query) } };
}

/** The query parameters of the page after `entries`; null on the last page. `key` is what `last` compares. */
export function nextPage<T>({ entries, more }: { entries: T[]; more: boolean }, key: (entry: T) => string) {
  const last = entries.at(-1);
  return more && last !== undefined ? { last: key(last) } : null;
}
