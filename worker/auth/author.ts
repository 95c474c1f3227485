/** Who makes a change, as the repository records it. */
import type { Client } from '../access/client.ts';
import type { Access } from '../access/decide.ts';
import type { Pattern } from '../oci/pattern.ts';
import type { Author } from '../oci/upkeep.ts';

/** `access` is the caller's access to the repository. */
export function authorOf(subject: string, client: Client, { actions, tags, maintains }: Access): Author {
  const deletes = actions.includes('delete') ? (tags?.delete ?? []) : (maintains ?? null);
  return { actor: subject, address: client.address, maintains: deletes as Pattern[][] | null };
}
