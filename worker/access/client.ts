/** The client of a request: its address and its certificate. */
import { inNetwork, plainAddress } from '../oci/address.ts';

/** A proxy that is not trusted is told of in the log no more often than this. */
const FORWARDED_WARNING_MS = 3600 * 1000;

/** What the platform says about the sender of a request. */
export interface Client {
  /** Empty where the platform does not know it. `unknown` where a trusted proxy does not name it. */
  address: string;
  /** The subject of a verified client certificate; null without one. */
  certificate: string | null;
}

const FORWARDED = ['X-Forwarded-For', 'Forwarded', 'X-Real-IP'];

/**
 * The client of a request. Cloudflare sets its address. On one machine workerd sets the address of the peer, and
 * X-Forwarded-For counts only where the peer is a trusted proxy.
 */
export function clientOf(
  request: Request,
  { setsCfHeaders, trustedProxies }: { setsCfHeaders: boolean; trustedProxies: string[] },
): Client {
  const cf = request.cf as
    | {
        clientIp?: string;
        tlsClientAuth?: { certVerified?: string; certRevoked?: string; certSubjectDN?: string };
      }
    | undefined;
  const certificate =
    cf?.tlsClientAuth?.certVerified === 'SUCCESS' && cf.tlsClientAuth.certRevoked !== '1'
      ? (cf.tlsClientAuth.certSubjectDN ?? '')
      : null;
  const peer = cf?.clientIp === undefined ? null : withoutPort(cf.clientIp);
  // On one machine any client can send Cloudflare's header.
  if (peer === null)
    return { address: (setsCfHeaders && request.headers.get('CF-Connecting-IP')) || '', certificate };
  if (!setsCfHeaders && !isAmong(peer, trustedProxies)) warnOfProxy(request, peer);
  return {
    address: behindProxies(peer, request.headers.get('X-Forwarded-For'), trustedProxies),
    certificate,
  };
}

/** Whether a trusted proxy sent the request, so that its headers about the client count. */
export function isProxied(request: Request, trustedProxies: string[]): boolean {
  const { clientIp } = (request.cf ?? {}) as { clientIp?: string };
  if (clientIp === undefined) return false;
  const peer = withoutPort(clientIp);
  return isAmong(peer, trustedProxies);
}

/**
 * The last address that is not a trusted proxy. Any client can forge the addresses before it. If all are trusted, the client is a
 * trusted host too, and the first address is its own.
 */
function behindProxies(peer: string, forwarded: string | null, trusted: string[]): string {
  if (forwarded === null || !isAmong(peer, trusted)) return peer;
  const chain = forwarded.split(',').map((entry) => withoutPort(entry.trim()));
  const client = chain.findLast((address) => !isAmong(address, trusted)) ?? chain[0] ?? peer;
  return plainAddress(client) ?? UNKNOWN;
}

/**
 * The address of a client that its proxy does not name, such as the `unknown` of Squid. All of them count as one client, and no
 * policy allows it. An empty address would have no limits.
 */
const UNKNOWN = 'unknown';

function isAmong(address: string, networks: string[]): boolean {
  return networks.some((network) => inNetwork(address, network));
}

let warnedAt = Number.NEGATIVE_INFINITY;

/** Behind an untrusted proxy all clients share one address, so failed logins of one client delay all others. */
function warnOfProxy({ headers }: Request, peer: string): void {
  const header = FORWARDED.find((name) => headers.has(name));
  if (header === undefined || Math.abs(Date.now() - warnedAt) < FORWARDED_WARNING_MS) return;
  warnedAt = Date.now();
  console.warn(
    `ignoring the header ${header} of a request from ${peer}: if ${peer} is your proxy, add it to TRUSTED_PROXIES. Otherwise all its clients count as one`,
  );
}

/** `127.0.0.1:4711`, `[::1]:4711` and bare addresses. */
function withoutPort(text: string): string {
  const [, bracketed] = /^\[([^\]]+)\](?::\d+)?$/.exec(text) ?? [];
  return bracketed ?? (/^[\d.]+:\d+$/.test(text) ? text.slice(0, text.indexOf(':')) : text);
}
