/** The URL of an issuer of OpenID Connect tokens. OpenID Connect Discovery 1.0, section 4. */
import { isLoopback } from '../oci/address.ts';

const URL_MAX_LENGTH = 1024;

/** True for an https URL without query; http only on loopback. */
export function isIssuer(text: string): boolean {
  if (!URL.canParse(text) || /[?#\s]/.test(text) || text.length > URL_MAX_LENGTH) return false;
  const { protocol, hostname, username, password } = new URL(text);
  if (username !== '' || password !== '') return false;
  return protocol === 'https:' || (protocol === 'http:' && isLoopback(hostname));
}
