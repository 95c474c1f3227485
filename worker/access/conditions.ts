/** Conditions of an access, which are checked for each request: the network and certificate of the client, and the tags. */
import { inNetwork } from '../oci/address.ts';
import { OciError } from '../oci/errors.ts';
import { matches, type Pattern } from '../oci/pattern.ts';
import type { Client } from './client.ts';
import type { Access } from './decide.ts';

/** Checks networks and certificates. Throws DENIED and not UNAUTHORIZED, because no other token would help. */
export function checkClient(access: Access, { address, certificate }: Client): void {
  for (const networks of access.networks ?? []) {
    if (networks.some((network) => inNetwork(address, network))) continue;
    throw new OciError('DENIED', {
      message: `a policy allows ${access.name} only from certain networks, and ${address || 'this address'} is in none of them`,
    });
  }
  for (const subjects of access.certificates ?? []) {
    if (certificate !== null && (subjects.length === 0 || subjects.includes(certificate))) continue;
    throw new OciError('DENIED', {
      message: `a policy allows ${access.name} only with a client certificate that it names`,
    });
  }
}

/** Throws DENIED for a tag that the access does not cover. */
export function checkTags(access: Access, action: 'push' | 'delete', wanted: string[]): void {
  const { name, rule } = access;
  const other = outside(access, action, wanted);
  if (other === null) return;
  throw new OciError('DENIED', {
    message: `the tag ${other.tag} of ${name} may not be ${action === 'push' ? 'set' : 'deleted'}: only ${other.patterns.join(', ')}, by ${rule}`,
  });
}

/** Throws DENIED if the subject of a new referrer has a tag that the access does not cover. */
export function checkSubjectTags(access: Access, subject: string, tags: string[]): void {
  const other = outside(access, 'push', tags);
  if (other === null) return;
  throw new OciError('DENIED', {
    message: `no referrer may be attached to ${subject}, because it has the tag ${other.tag}: ${access.rule} covers only ${other.patterns.join(', ')}`,
  });
}

/** The first tag that an access does not cover, with the patterns that it does not match. Null if all are covered. */
function outside({ tags }: Access, action: 'push' | 'delete', wanted: string[]) {
  for (const patterns of tags?.[action] ?? []) {
    const tag = wanted.find((one) => !patterns.some((pattern) => matches(pattern as Pattern, one)));
    if (tag !== undefined) return { tag, patterns };
  }
  return null;
}
