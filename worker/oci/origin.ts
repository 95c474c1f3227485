/**
 * The origin of the registry: the scheme and host in its answers and its tokens. It is decided once for each request. No header that
 * an untrusted client sets decides it.
 */
import { isAddress, isLoopback } from './address.ts';
import { OciError } from './errors.ts';

export interface Naming {
  /** The origins of `PUBLIC_URL`. If there are any, every answer uses one of them. */
  publicOrigins: string[];
  /**
   * Without them, the hosts that a request may be for: names, `*.` and a name, or `*` for every address of IPv4 and IPv6. Null
   * where the platform checks the host: Cloudflare routes only its own hosts to the Worker.
   */
  boundNames: string[] | null;
  /** True for a request that a trusted proxy has sent. */
  isProxied(request: Request): boolean;
}

const HOST = /^(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?$/i;

const decided = new WeakMap<Request, string>();

/** Scheme and host of the registry for this request, without a slash at the end. It must have been decided. */
export function originOf(request: Request): string {
  const origin = decided.get(request);
  if (origin === undefined) throw new Error('the origin of this request has not been decided');
  return origin;
}

/** True where the client uses HTTPS, also in front of a trusted proxy. */
export function isSecure(request: Request): boolean {
  return (decided.get(request) ?? request.url).startsWith('https:');
}

/** The last decision, by scheme and host of the URL: most requests name the same host as the one before. */
let last: { naming: Naming; asked: string; origin: string } | null = null;

/** Throws NAME_INVALID (421) where a request is for a host that is not this registry. */
export function decideOrigin(request: Request, naming: Naming): string {
  const proxied = naming.isProxied(request);
  const asked = request.url.slice(0, request.url.indexOf('/', 'https://'.length));
  if (proxied || last === null || last.naming !== naming || last.asked !== asked) {
    const origin = originFor(askedFor(request, proxied), naming);
    if (!proxied) last = { naming, asked, origin };
    decided.set(request, origin);
    return origin;
  }
  decided.set(request, last.origin);
  return last.origin;
}

function originFor({ origin: asked, host, hostname }: URL, { publicOrigins, boundNames }: Naming): string {
  const [first] = publicOrigins;
  const own = publicOrigins.find((origin) => hostOf(origin) === hostOf(asked, origin)) ?? first;
  if (own === undefined && boundNames !== null && !isBound(hostname, boundNames)) {
    throw new OciError('NAME_INVALID', {
      status: 421,
      message: `this registry does not know that it is called ${host}: if it is, set PUBLIC_URL to its URL, such as https://${host}`,
    });
  }
  return own ?? asked;
}

/** The URL of the request, or the one that a trusted proxy received. */
function askedFor(request: Request, isProxied: boolean): URL {
  const url = new URL(request.url);
  if (!isProxied) return url;
  const { protocol, host } = url;
  const scheme = outermost(request.headers.get('X-Forwarded-Proto'))?.toLowerCase();
  const forwarded = outermost(request.headers.get('X-Forwarded-Host'));
  const said = [
    scheme === 'http' || scheme === 'https' ? `${scheme}:` : protocol,
    forwarded !== undefined && HOST.test(forwarded) ? forwarded.toLowerCase() : host,
  ].join('//');
  return URL.parse(said) ?? url;
}

/** Of several proxies, the outermost writes first. */
function outermost(header: string | null): string | undefined {
  return header?.split(',')[0]?.trim();
}

/** The host of an origin, where a port is left out if it is the usual one of the scheme (of another origin, if one is given). */
function hostOf(origin: string, schemeOf: string = origin): string {
  const url = URL.parse(origin.replace(/^https?:/, new URL(schemeOf).protocol));
  return url?.host ?? '';
}

function isBound(hostname: string, names: string[]): boolean {
  if (isLoopback(hostname)) return true;
  return names.some((name) => {
    if (name === '*') return isAddress(hostname);
    if (name.startsWith('*.')) return hostname.slice(hostname.indexOf('.')) === name.slice(1);
    return name === hostname;
  });
}
