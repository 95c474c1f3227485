/**
 * With AUTH=off, programs on this machine may do everything. This rejects requests that only seem to come from this
 * machine: those that a proxy forwarded, and those that a page of another site made a browser send.
 */
import { isLoopback } from '../oci/address.ts';
import { OciError } from '../oci/errors.ts';
import { clientOf } from './client.ts';

const FORWARDED = /^(?:forwarded$|via$|x-forwarded(?:$|-)|x-real-ip$|(?:[a-z]+-)*client-ip$|cf-)/;

/** Throws DENIED for a request that may come from elsewhere. */
export function checkLocal(request: Request, setsCfHeaders: boolean): void {
  const problem = problemOf(request, setsCfHeaders);
  if (problem === null) return;
  throw new OciError('DENIED', {
    message: `AUTH=off is for programs on this machine only, and ${problem}: unset AUTH and log in, or ask http://localhost directly`,
  });
}

function problemOf(request: Request, setsCfHeaders: boolean): string | null {
  // Cloudflare's runtimes and `wrangler dev` set this header. On one machine any client can send it.
  const own = setsCfHeaders ? 'cf-connecting-ip' : null;
  for (const name of request.headers.keys()) {
    if (FORWARDED.test(name) && name !== own)
      return `the header ${name} says that a proxy has passed this request on`;
  }
  const { address } = clientOf(request, { setsCfHeaders, trustedProxies: [] });
  // Only a simulator of Cloudflare does not know the address.
  const isHere = address === '' ? setsCfHeaders : isLoopback(address);
  if (!isHere) return `this request comes from ${address || 'an unknown address'}`;
  const { hostname } = new URL(request.url);
  if (!isLoopback(hostname)) return `this request is for ${hostname}`;
  const site = request.headers.get('Sec-Fetch-Site');
  return site === 'cross-site' || site === 'same-site' ? 'a page of another site sent this request' : null;
}
