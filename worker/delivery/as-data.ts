/**
 * Headers of every answer, so that a browser never shows stored content as a page of this origin. The rules of a custom domain
 * set the same (`deploy/response-headers.ts`).
 */
export const AS_DATA = {
  'X-Content-Type-Options': 'nosniff',
  'Content-Security-Policy': "sandbox; default-src 'none'; frame-ancestors 'none'",
  'Cross-Origin-Resource-Policy': 'same-origin',
};
