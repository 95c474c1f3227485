/**
 * Repository names, tags, and the references (a tag or a digest) that name a manifest. Distribution spec, "Pulling manifests".
 */
import { type Digest, parseDigest } from './digest.ts';
import { OciError } from './errors.ts';
import { NAME_MAX_LENGTH } from './limits.ts';

declare const brand: unique symbol;
export type RepositoryName = string & { readonly [brand]: 'RepositoryName' };
export type Tag = string & { readonly [brand]: 'Tag' };

/** A tag or a digest in a URL. */
export type Reference = { kind: 'tag'; tag: Tag } | { kind: 'digest'; digest: Digest };

// There is no nested repetition of overlapping classes, so every name takes linear time.
const NAME = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;

/** Throws NAME_INVALID. */
export function parseRepositoryName(text: string): RepositoryName {
  if (text.length > NAME_MAX_LENGTH) {
    throw new OciError('NAME_INVALID', {
      message: `a repository name has at most ${NAME_MAX_LENGTH} characters`,
      detail: { length: text.length },
    });
  }
  if (!NAME.test(text)) {
    throw new OciError('NAME_INVALID', {
      message:
        'a repository name is made of components of lowercase letters and digits, joined within by ".", "_", "__" or "-" and between by "/"',
      detail: { name: text },
    });
  }
  return text as RepositoryName;
}

/** True where `parseRepositoryName` would not throw. */
export function isRepositoryName(text: string): text is RepositoryName {
  return text.length <= NAME_MAX_LENGTH && NAME.test(text);
}

/** Throws TAG_INVALID. */
export function parseTag(text: string): Tag {
  if (!TAG.test(text)) {
    throw new OciError('TAG_INVALID', {
      message: 'a tag is a letter, digit or "_", then up to 127 letters, digits, ".", "_" or "-"',
      detail: { tag: text.slice(0, 256) },
    });
  }
  return text as Tag;
}

/** A text with a colon is parsed as a digest. Throws TAG_INVALID, DIGEST_INVALID. */
export function parseReference(text: string): Reference {
  if (text.includes(':')) return { kind: 'digest', digest: parseDigest(text) };
  return { kind: 'tag', tag: parseTag(text) };
}

/** A tag at a time: `v1--at--20261101T0900Z`, also with seconds. */
const PAST_TAG =
  /^(?<tag>.+)--at--(?<year>\d{4})(?<month>\d\d)(?<day>\d\d)T(?<hour>\d\d)(?<minute>\d\d)(?<second>\d\d)?Z$/;

/** The tag and the time (Unix time, ms) in a tag that names another tag as it was at a time. Null for any other tag. */
export function pastTag(text: string): { tag: Tag; at: number } | null {
  const found = PAST_TAG.exec(text)?.groups;
  if (found === undefined) return null;
  const { tag = '', year, month, day, hour, minute, second = '00' } = found;
  const at = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}.999Z`);
  return Number.isNaN(at) || !TAG.test(tag) ? null : { tag: tag as Tag, at };
}

/** The name of a tag as it was at a time (Unix time, ms; whole seconds). */
export function pastTagOf(tag: string, at: number): string {
  return `${tag}--at--${new Date(at).toISOString().replace(/[-:]|\.\d+/g, '')}`;
}

/** A tag that may be set or deleted. Throws TAG_INVALID. */
export function parseOwnTag(text: string): Tag {
  const tag = parseTag(text);
  if (pastTag(tag) === null) return tag;
  throw new OciError('TAG_INVALID', {
    message: `${tag} is a tag as it was at a time, and can only be pulled: choose a name without "--at--"`,
    detail: { tag },
  });
}
