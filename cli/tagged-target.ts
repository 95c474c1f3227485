// The target of a command that needs a tag: HOST/REPOSITORY:TAG.
import { parseTag } from '../worker/oci/reference.ts';
import { parseTarget, type Target } from './transfer/target.ts';

/** A target whose tag is `latest` if it names neither a tag nor a digest, as for docker. Throws a CommandFailure. */
export function taggedTarget(text: string): Target {
  const target = parseTarget(text);
  const isNamed = target.tag !== null || target.digest !== null;
  return isNamed ? target : { ...target, tag: parseTag('latest') };
}
