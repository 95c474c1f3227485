/**
 * What every answer says to a browser: what users store is data, and never a page of this origin, whatever its type is taken
 * for. The rules of a custom domain say the same (`deploy/response-headers.ts`).
 */
export const AS_DATA = {
  'X-Content-Type-Options': 'nosniff',
  'Content-Security-Policy': "sandbox; default-src 'none'; frame-ancestors 'none'",
  'Cross-Origin-Resource-Policy': 'same-origin',
};
