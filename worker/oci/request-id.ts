/** The id of a request, as it stands in answers, in logs and in the audit log. */

const ids = new WeakMap<Request, string>();

/** Cloudflare's own where it set one. On one machine any client may send that header, so there the id is made here. */
export function requestIdOf(request: Request, { setsCfHeaders }: { setsCfHeaders: boolean }): string {
  const known = ids.get(request);
  if (known !== undefined) return known;
  const id = (setsCfHeaders && request.headers.get('cf-ray')) || crypto.randomUUID();
  ids.set(request, id);
  return id;
}
