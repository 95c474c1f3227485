/** The cookies of a sign-in: no script reads them, and only the registry sets them. */
import { generateCookie } from 'hono/cookie';
import { parse } from 'hono/utils/cookie';

/** The value of a cookie of the registry; null without one. */
export function cookieIn(request: Request, name: string, origin: string): string | null {
  const cookies = request.headers.get('Cookie') ?? '';
  const fullName = isHttps(origin) ? `__Host-${name}` : name;
  return parse(cookies, fullName)[fullName] ?? null;
}

/**
 * The value of `Set-Cookie`. `maxAge` is in seconds; 0 deletes the cookie. It is Lax, because the browser comes back from another
 * site. Over https it has the prefix `__Host-`, so that no neighbouring host can set it (RFC 6265bis, section 4.1.3).
 */
export function cookieText(name: string, origin: string, value: string, maxAge: number): string {
  const options = { path: '/', httpOnly: true, sameSite: 'Lax', maxAge } as const;
  return isHttps(origin)
    ? generateCookie(name, value, { ...options, secure: true, prefix: 'host' })
    : generateCookie(name, value, options);
}

function isHttps(origin: string): boolean {
  return origin.startsWith('https:');
}
