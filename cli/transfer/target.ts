// Names of images as clients write them: HOST[:PORT]/REPOSITORY[:TAG][@DIGEST].
import { isLoopback } from '../../worker/oci/address.ts';
import { type Digest, isDigest } from '../../worker/oci/digest.ts';
import { isRepositoryName, parseTag, type RepositoryName, type Tag } from '../../worker/oci/reference.ts';
import { CommandFailure, EXIT } from '../failure.ts';

/** An image in a registry. */
export interface Target {
  /** `https://registry.example.com`, without a slash at the end. */
  readonly origin: string;
  /** The host and port, as the configuration of Docker names the registry. */
  readonly host: string;
  readonly repository: RepositoryName;
  readonly tag: Tag | null;
  readonly digest: Digest | null;
}

const SCHEME = /^(https?):\/\//;

/**
 * `HOST[:PORT]/REPOSITORY[:TAG][@DIGEST]`, with or without `https://` or `http://`. Without a scheme, a registry on this machine is
 * reached by http, and every other by https.
 *
 * Throws a CommandFailure for any other text.
 */
export function parseTarget(text: string): Target {
  const slash = text.replace(SCHEME, '').indexOf('/');
  if (slash <= 0) {
    throw new CommandFailure(
      `${JSON.stringify(text)} does not name a registry and a repository.\nUse HOST/REPOSITORY:TAG, such as registry.example.com/team/app:1.0.`,
      EXIT.usage,
    );
  }
  const scheme = SCHEME.exec(text)?.[0] ?? '';
  if (scheme === '' && !isHost(text.slice(0, slash))) {
    throw new CommandFailure(
      `${JSON.stringify(text)} does not begin with the host of a registry: a host has a dot or a port, or is localhost.\nUse HOST/REPOSITORY:TAG, such as registry.example.com/team/app:1.0. For a host without a dot, write https:// before it.`,
      EXIT.usage,
    );
  }
  const origin = parseOrigin(text.slice(0, scheme.length + slash));
  const path = text.slice(scheme.length + slash + 1);
  const at = path.indexOf('@');
  const digest = at === -1 ? null : path.slice(at + 1);
  if (digest !== null && !isDigest(digest)) {
    throw new CommandFailure(
      `${JSON.stringify(digest)} is not a digest.\nA digest is sha256: and 64 lowercase hexadecimal digits.`,
      EXIT.usage,
    );
  }
  const named = at === -1 ? path : path.slice(0, at);
  const colon = named.lastIndexOf(':');
  const repository = colon === -1 ? named : named.slice(0, colon);
  if (!isRepositoryName(repository)) {
    throw new CommandFailure(
      `${JSON.stringify(repository)} is not the name of a repository.\nA name has lowercase letters and digits, joined by ".", "_" or "-", in components between slashes.`,
      EXIT.usage,
    );
  }
  const tag = colon === -1 ? null : tagOf(named.slice(colon + 1));
  return { origin, host: origin.replace(SCHEME, ''), repository, tag, digest };
}

/**
 * The origin of a registry: `HOST[:PORT]`, with or without a scheme.
 *
 * Throws a CommandFailure for any other text.
 */
export function parseOrigin(text: string): string {
  const scheme = SCHEME.exec(text)?.[1] ?? null;
  const bare = text.replace(SCHEME, '').replace(/\/$/, '');
  const probe = `${scheme ?? 'https'}://${bare}`;
  const url = URL.canParse(probe) ? new URL(probe) : null;
  const isPlain =
    url !== null &&
    url.username === '' &&
    url.password === '' &&
    /^[^/?#\s]+$/.test(bare) &&
    url.hostname !== '';
  if (!isPlain) {
    throw new CommandFailure(
      `${JSON.stringify(text)} is not the host of a registry.\nUse HOST or HOST:PORT, such as registry.example.com.`,
      EXIT.usage,
    );
  }
  const protocol = scheme ?? (isLoopback(url.hostname) ? 'http' : 'https');
  return new URL(`${protocol}://${bare}`).origin;
}

/** Docker's rule: any other first component belongs to the name of a repository on Docker Hub. */
function isHost(component: string): boolean {
  return component === 'localhost' || /[.:]/.test(component);
}

function tagOf(text: string): Tag {
  try {
    return parseTag(text);
  } catch {
    throw new CommandFailure(
      `${JSON.stringify(text)} is not a tag.\nA tag is a letter, digit or "_", then up to 127 letters, digits, ".", "_" or "-".`,
      EXIT.usage,
    );
  }
}
