/** Addresses of clients, and the networks they are in. */
import ipaddr from 'ipaddr.js';
import { FORWARDED_WARNING_MS } from '../oci/limits.ts';

type Network = ReturnType<typeof ipaddr.parseCIDR>;

/** Networks come from settings and policies, so they are few. Parsing one costs as much as the rest of a small request. */
const PARSED_MAX = 1_000;
const parsed = new Map<string, Network | null>();

/** True where an address lies in a network (CIDR, or one address). False for what is neither. */
export function inNetwork(address: string, network: string): boolean {
  const range = parsedNetwork(network);
  if (range === null || !ipaddr.isValid(address)) return false;
  const ip = ipaddr.process(address);
  const [base, bits] = range;
  return ip.kind() === base.kind() && ip.match(base, bits);
}

/** True for 127.0.0.0/8 and ::1. */
export function isLoopback(address: string): boolean {
  return ipaddr.isValid(address) && ipaddr.process(address).range() === 'loopback';
}

function parsedNetwork(text: string): Network | null {
  const known = parsed.get(text);
  if (known !== undefined) return known;
  const network = isNetwork(text) ? ipaddr.parseCIDR(text.includes('/') ? text : withAllBits(text)) : null;
  if (parsed.size >= PARSED_MAX) parsed.clear();
  parsed.set(text, network);
  return network;
}

const FORWARDED = ['X-Forwarded-For', 'Forwarded', 'X-Real-IP'];

/** Without short or octal forms, which everybody reads otherwise; addresses of IPv4 are written as such. */
const OCTET = '(?:0|[1-9]\\d{0,2})';
const PLAIN = new RegExp(`^(?:${OCTET}(?:\\.${OCTET}){3}|[0-9a-f]*:[0-9a-f:]*)(?:/\\d{1,3})?$`, 'i');

/** True for a CIDR, and for a single address. */
export function isNetwork(text: string): boolean {
  if (!PLAIN.test(text)) return false;
  return ipaddr.isValidCIDR(text) || ipaddr.isValid(text);
}

function withAllBits(address: string): string {
  return `${address}/${ipaddr.parse(address).kind() === 'ipv4' ? 32 : 128}`;
}

/**
 * Where a request comes from, and with which certificate. Cloudflare says so itself; on one machine workerd knows the peer,
 * and a header of a proxy counts only where the peer is one that is trusted.
 */
export function clientOf(
  request: Request,
  { onMachine, trustedProxies }: { onMachine: boolean; trustedProxies: string[] },
): { address: string; certificate: string | null } {
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
  // On one machine anybody may write Cloudflare's header.
  if (peer === null)
    return { address: (!onMachine && request.headers.get('CF-Connecting-IP')) || '', certificate };
  if (onMachine && !isAmong(peer, trustedProxies)) warnOfProxy(request, peer);
  return {
    address: behindProxies(peer, request.headers.get('X-Forwarded-For'), trustedProxies),
    certificate,
  };
}

/** True where a proxy that is trusted has sent the request: what it says about it counts. */
export function isProxied(request: Request, trustedProxies: string[]): boolean {
  const { clientIp } = (request.cf ?? {}) as { clientIp?: string };
  if (clientIp === undefined) return false;
  const peer = withoutPort(clientIp);
  return trustedProxies.some((network) => inNetwork(peer, network));
}

/** The nearest address that is not one of a proxy that is trusted: what stands left of it anybody may have written. */
function behindProxies(peer: string, forwarded: string | null, trusted: string[]): string {
  const chain = [...(forwarded?.split(',').map((entry) => withoutPort(entry.trim())) ?? []), peer];
  return chain.findLast((address) => !isAmong(address, trusted)) ?? peer;
}

function isAmong(address: string, networks: string[]): boolean {
  return networks.some((network) => inNetwork(address, network));
}

let warnedAt = Number.NEGATIVE_INFINITY;

/** Behind a proxy that is not trusted, all clients have one address, and one of them can make all others wait. */
function warnOfProxy({ headers }: Request, peer: string): void {
  const header = FORWARDED.find((name) => headers.has(name));
  if (header === undefined || Math.abs(Date.now() - warnedAt) < FORWARDED_WARNING_MS) return;
  warnedAt = Date.now();
  console.warn(
    `a request from ${peer} has the header ${header}, which is ignored: where ${peer} is a proxy of yours, name it in TRUSTED_PROXIES, or all its clients count as one`,
  );
}

/** `127.0.0.1:4711`, `[::1]:4711` and bare addresses. */
function withoutPort(text: string): string {
  const [, bracketed] = /^\[([^\]]+)\](?::\d+)?$/.exec(text) ?? [];
  return bracketed ?? (/^[\d.]+:\d+$/.test(text) ? text.slice(0, text.indexOf(':')) : text);
}
