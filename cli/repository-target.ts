// What the commands of a repository take: NAME, NAME:TAG or NAME@DIGEST, of the registry at --url.
import { isDigest } from '../worker/oci/digest.ts';
import { isRepositoryName, parseTag } from '../worker/oci/reference.ts';
import { CommandFailure, EXIT } from './failure.ts';

export interface RepositoryTarget {
  name: string;
  tag: string | null;
  digest: string | null;
}

/** Throws a CommandFailure. */
export function repositoryTarget(text: string): RepositoryTarget {
  const [, name = '', tag, digest] = /^([^:@]*)(?::([^@]*))?(?:@(.*))?$/.exec(text) ?? [];
  if (!isRepositoryName(name) || tag?.includes('/'))
    throw new CommandFailure(
      `${JSON.stringify(text)} does not begin with the name of a repository.\nUse one such as team/app, team/app:v1 or team/app@sha256:..., without the host. --url names the registry.`,
      EXIT.usage,
    );
  if (tag !== undefined && digest !== undefined)
    throw new CommandFailure(`${JSON.stringify(text)} has a tag and a digest. Use one of them.`, EXIT.usage);
  if (digest !== undefined && !isDigest(digest))
    throw new CommandFailure(`${JSON.stringify(digest)} is not a digest.`, EXIT.usage);
  return { name, tag: tag === undefined ? null : tagOf(tag), digest: digest ?? null };
}

function tagOf(text: string): string {
  try {
    return parseTag(text);
  } catch (error) {
    throw new CommandFailure(error instanceof Error ? error.message : String(error), EXIT.usage);
  }
}
