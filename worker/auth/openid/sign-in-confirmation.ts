/**
 * Whether a person wants to sign in: they typed the address, or followed the link of the confirmation page. Not all
 * browsers send Fetch Metadata, and none sends it over http. Therefore the link also has a value that a cookie must
 * repeat.
 */

import { randomBytes } from 'node:crypto';
import { originOf } from '../../oci/origin.ts';
import { SIGN_IN_LIFETIME_S } from './sign-in-attempt.ts';
import { cookieIn, cookieText } from './sign-in-cookie.ts';

const NAME = 'longshore-confirm';

/** Fetch Metadata: `none` is a person who typed the address or opened a bookmark. */
export function isWanted(request: Request): boolean {
  const site = request.headers.get('Sec-Fetch-Site');
  if (site === 'none' || site === 'same-origin') return true;
  const value = new URL(request.url).searchParams.get('confirm') ?? '';
  return value !== '' && site === null && cookieIn(request, NAME, originOf(request)) === value;
}

export function newConfirmation(origin: string): { value: string; cookie: string } {
  const value = randomBytes(32).toString('base64url');
  return { value, cookie: cookieText(NAME, origin, value, SIGN_IN_LIFETIME_S) };
}
