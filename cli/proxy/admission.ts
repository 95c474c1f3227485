/**
 * Who may ask the proxy, and for what. With credentials of its own it acts for every program that reaches it, so it must not answer web
 * pages: neither those that send requests to localhost, nor those whose name leads to 127.0.0.1 (DNS rebinding).
 */
import type { IncomingMessage } from 'node:http';
import { isAddress, isLoopback } from '../../worker/oci/address.ts';
import { OciError } from '../../worker/oci/errors.ts';

/** Which names clients may use for the proxy. */
export type Names =
  /** Only those of this machine. */
  | { kind: 'loopback' }
  /** Also addresses, names without a dot, and these. A web page cannot use them for a site of its own. */
  | { kind: 'network'; names: readonly string[] }
  | { kind: 'any' };

const HOST = /^(\[[0-9a-f:.]+\]|[^\s:/\\@[\]]+)(?::\d{1,5})?$/i;
const TARGET = /^\/(?:v2(?:\/[A-Za-z0-9._~:@%!$&'()*+,;=/-]*)?|token)(?:\?[\x21-\x7e]*)?$/;

/** The path and query of a request, and the host by which the client knows the proxy. Throws OciError. */
export function admit(request: IncomingMessage, names: Names): { path: string; query: string; host: string } {
  const host = hostOf(request);
  if (!mayBe(host.replace(/:\d+$/, ''), names)) {
    throw new OciError('DENIED', {
      status: 421,
      message: `this proxy does not answer for the host ${host.slice(0, 200)}: use localhost, or start it with --allow-host`,
    });
  }
  const { headers } = request;
  const site = headers['sec-fetch-site'];
  if (headers.origin !== undefined || (site !== undefined && site !== 'none')) {
    throw new OciError('DENIED', { message: 'this proxy does not answer web pages' });
  }
  // Node has refused other codings than this one together with a length. RFC 9112, section 6.1.
  if ((headers['transfer-encoding'] ?? 'chunked').toLowerCase() !== 'chunked') {
    throw new OciError('UNSUPPORTED', { status: 501, message: 'the only Transfer-Encoding is chunked' });
  }
  const target = request.url ?? '';
  if (!TARGET.test(target) || hasTricks(target.split('?')[0] ?? '')) {
    throw new OciError('NAME_UNKNOWN', { message: 'this proxy has only the paths below /v2/' });
  }
  const mark = target.indexOf('?');
  if (mark === -1) return { path: target, query: '', host };
  return { path: target.slice(0, mark), query: target.slice(mark), host };
}

function hostOf(request: IncomingMessage): string {
  const names = request.rawHeaders.filter((_, index) => index % 2 === 0);
  const count = names.filter((name) => name.toLowerCase() === 'host').length;
  const host = request.headers.host ?? '';
  if (count !== 1 || !HOST.test(host)) {
    throw new OciError('DENIED', { status: 400, message: 'the request must have one Host' });
  }
  return host;
}

function mayBe(name: string, names: Names): boolean {
  if (names.kind === 'any' || isLoopback(name)) return true;
  if (names.kind === 'loopback') return false;
  return isAddress(name) || !name.includes('.') || names.names.includes(name.toLowerCase());
}

/** Parts of a path that another server could read as another path. */
function hasTricks(path: string): boolean {
  try {
    return path
      .split('/')
      .map((part) => decodeURIComponent(part))
      .some((part) => part === '.' || part === '..' || /[/\\\x00-\x1f\x7f]/.test(part));
  } catch {
    return true;
  }
}
