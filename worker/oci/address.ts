/** IP addresses, and the networks that they are in. */
import ipaddr from 'ipaddr.js';
import QuickLRU from 'quick-lru';

type Network = ReturnType<typeof ipaddr.parseCIDR>;

/** To parse a network costs as much as the rest of a small request. Networks come from settings and policies, so they are few. */
const parsed = new QuickLRU<string, Network | null>({ maxSize: 500 });

/** Whether an address is in a network (CIDR, or a single address). False where either cannot be parsed. */
export function inNetwork(address: string, network: string): boolean {
  const range = parsedNetwork(network);
  if (range === null || !ipaddr.isValid(address)) return false;
  const ip = ipaddr.process(address);
  const [base, bits] = range;
  return ip.kind() === base.kind() && ip.match(base, bits);
}

/** Whether a host is this machine: `localhost`, or an address of 127.0.0.0/8 or ::1. A URL has IPv6 addresses in brackets. */
export function isLoopback(host: string): boolean {
  const address = withoutBrackets(host);
  return host === 'localhost' || (ipaddr.isValid(address) && ipaddr.process(address).range() === 'loopback');
}

/** Whether a host is an address that the public internet does not route. False for names. */
export function isPrivateAddress(host: string): boolean {
  const address = withoutBrackets(host);
  return ipaddr.isValid(address) && ipaddr.process(address).range() !== 'unicast';
}

/** Whether a host is an address and not a name. */
export function isAddress(host: string): boolean {
  return ipaddr.isValid(withoutBrackets(host));
}

/** ipaddr.js also takes short and octal forms of IPv4 addresses, which other programs read differently. */
const OCTET = '(?:0|[1-9]\\d{0,2})';
const PLAIN = new RegExp(`^(?:${OCTET}(?:\\.${OCTET}){3}|[0-9a-f]*:[0-9a-f:]*)(?:/\\d{1,3})?$`, 'i');

/** Whether a text is a network in CIDR notation, or a single address. */
export function isNetwork(text: string): boolean {
  if (!PLAIN.test(text)) return false;
  return ipaddr.isValidCIDR(text) || ipaddr.isValid(text);
}

/**
 * An address in its usual form: IPv4 where it is written as IPv6, and without the zone of a link-local address. Null for other
 * texts, also for short and octal forms of IPv4.
 */
export function plainAddress(text: string): string | null {
  const address = text.replace(/%[\w.-]+$/, '');
  if (!ipaddr.IPv4.isValidFourPartDecimal(address) && !ipaddr.IPv6.isValid(address)) return null;
  return ipaddr.process(address).toString();
}

/** The network of one client: its IPv4 address, or the /64 of its IPv6 address, in which it may choose any address. */
export function clientNetwork(address: string): string {
  if (!ipaddr.isValid(address)) return address;
  const ip = ipaddr.process(address);
  if (ip instanceof ipaddr.IPv4) return ip.toString();
  const groups = ip.parts.slice(0, 4).map((group) => group.toString(16));
  return `${groups.join(':')}::/64`;
}

function parsedNetwork(text: string): Network | null {
  const known = parsed.get(text);
  if (known !== undefined) return known;
  const network = isNetwork(text)
    ? plainNetwork(ipaddr.parseCIDR(text.includes('/') ? text : withAllBits(text)))
    : null;
  parsed.set(text, network);
  return network;
}

/** The network of IPv4 where one is written as IPv6 (`::ffff:a00:0/104`), because the addresses of clients are compared as IPv4. */
function plainNetwork([base, bits]: Network): Network {
  return base instanceof ipaddr.IPv6 && base.isIPv4MappedAddress() && bits >= 96
    ? [base.toIPv4Address(), bits - 96]
    : [base, bits];
}

function withAllBits(address: string): string {
  return `${address}/${ipaddr.parse(address).kind() === 'ipv4' ? 32 : 128}`;
}

function withoutBrackets(host: string): string {
  return host.replace(/^\[|\]$/g, '');
}
