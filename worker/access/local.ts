/**
 * With AUTH=off, requests of programs on this machine may do everything. A request that only seems to be of this machine is
 * one that a proxy has passed on, or that a page of the web made a browser send.
 */
import { isLoopback } from '../oci/address.ts';
import { OciError } from '../oci/errors.ts';
import { clientOf } from './client.ts';

const FORWARDED = /^(?:forwarded$|via$|x-forwarded(?:$|-)|x-real-ip$|true-client-ip$|cf-)/;

/** Throws DENIED, with what to do, for a request that may come from elsewhere. */
export function checkLocal(request: Request, onMachine: boolean): void {
  const problem = problemOf(request, onMachine);
  if (problem === null) return;
  throw new OciError('DENIED', {
    message: `AUTH=off is for programs on this machine only, and ${problem}: unset AUTH and log in, or ask http://localhost directly`,
  });
}

function problemOf(request: Request, onMachine: boolean): string | null {
  // Cloudflare's runtimes name the client in a header, `wrangler dev` as well. On one machine any client could write it.
  const own = onMachine ? null : 'cf-connecting-ip';
  for (const name of request.headers.keys()) {
    if (FORWARDED.test(name) && name !== own)
      return `the header ${name} says that a proxy has passed this request on`;
  }
  const { address } = clientOf(request, { onMachine, trustedProxies: [] });
  // Only a simulator of Cloudflare says nothing of the client.
  const isHere = address === '' ? !onMachine : isLoopback(address);
  if (!isHere) return `this request comes from ${address || 'an unknown address'}`;
  const { hostname } = new URL(request.url);
  if (!isLoopback(hostname)) return `this request is for ${hostname}`;
  const site = request.headers.get('Sec-Fetch-Site');
  return site === 'cross-site' || site === 'same-site' ? 'a page of another site sent this request' : null;
}
