// Which headers pass through the proxy, and how those that name the registry are rewritten.
import type { IncomingHttpHeaders } from 'node:http';

/** RFC 9110, section 7.6.1, and what is about one connection or one site. */
const NOT_PASSED = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/**
 * Of requests: what the proxy sets itself, or what would speak of another client or site. The registry takes no chunks for an upload
 * that a client has announced with Longshore-Direct.
 */
const NOT_SENT =
  /^(?:host|content-length|expect|authorization|cookie|origin|referer|forwarded|via|x-forwarded-.*|x-real-ip|cf-.*|sec-.*|longshore-direct)$/;
/** Of answers: what is about the host that answered. */
const NOT_ANSWERED = /^(?:strict-transport-security|alt-svc|set-cookie|www-authenticate|location|link)$/;

/** The headers of a request that the registry gets. */
export function sentHeaders(headers: IncomingHttpHeaders): Record<string, string> {
  const sent: Record<string, string> = {};
  for (const [name, value] of passed(headers)) if (!NOT_SENT.test(name)) sent[name] = String(value);
  // A registry sends the bytes of clients that it knows past itself, and those do not come through the proxy.
  const { 'user-agent': client } = headers;
  if (client !== undefined) sent['user-agent'] = `longshore (for ${client})`;
  return sent;
}

/** The headers of an answer that the client gets. `proxy` is the origin that the client sees, `origin` that of the registry. */
export function answerHeaders(
  headers: IncomingHttpHeaders,
  origin: string,
  proxy: string,
): Record<string, string | string[]> {
  const given: Record<string, string | string[]> = {};
  for (const [name, value] of passed(headers)) if (!NOT_ANSWERED.test(name)) given[name] = value;
  const { location, link, 'www-authenticate': challenge } = headers;
  if (location !== undefined) given.location = withoutOrigin(location, origin);
  if (typeof link === 'string') {
    given.link = link.replace(/<([^>]*)>/g, (_, url: string) => `<${withoutOrigin(url, origin)}>`);
  }
  if (challenge !== undefined) given['www-authenticate'] = ownChallenge(challenge, proxy);
  return given;
}

/** The path and query of a URL of the registry. Other URLs stay as they are. */
function withoutOrigin(url: string, origin: string): string {
  if (!URL.canParse(url)) return url;
  const parsed = new URL(url);
  return parsed.origin === origin ? `${parsed.pathname}${parsed.search}` : url;
}

/** The challenge with the token endpoint of the proxy. The service stays that of the registry. */
function ownChallenge(challenge: string, proxy: string): string {
  if (!/^bearer\b/i.test(challenge)) return challenge;
  return challenge.replace(/(\brealm=)(?:"[^"]*"|[^\s,]+)/i, (_, name: string) => `${name}"${proxy}/token"`);
}

function* passed(headers: IncomingHttpHeaders): Generator<[string, string | string[]]> {
  const named = new Set((headers.connection ?? '').toLowerCase().split(/\s*,\s*/));
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined && !NOT_PASSED.has(name) && !named.has(name)) yield [name, value];
  }
}
