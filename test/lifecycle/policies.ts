/** Policies and tags for the tests of worker/lifecycle, with as little as a test wants to say. */
import { createHash } from 'node:crypto';
import type { RetentionPolicy, TagsPolicy } from '../../worker/lifecycle/policy.ts';
import { DAY_MS } from '../../worker/lifecycle/policy.ts';
import type { TagFacts } from '../../worker/lifecycle/retention.ts';
import { type Digest, parseDigest } from '../../worker/oci/digest.ts';
import { EVERYTHING, type Pattern } from '../../worker/oci/pattern.ts';

export const NOW = Date.parse('2026-12-01T12:00:00Z');

/** The digest of an image that a test calls by a name. */
export function digestOf(name: string | number): Digest {
  return parseDigest(`sha256:${createHash('sha256').update(String(name)).digest('hex')}`);
}

type Loose<T> = { [Key in keyof T]?: T[Key] extends Pattern | null ? string | null : T[Key] };

export function retention(fields: Loose<Omit<RetentionPolicy, 'kind'>>): RetentionPolicy {
  const { tags = null, repositories, ...rest } = fields;
  return {
    kind: 'retention',
    id: '1',
    repositories: (repositories ?? EVERYTHING) as Pattern,
    tags: tags as Pattern | null,
    keep: [],
    after: 30,
    untaggedAfter: null,
    deletesImmutable: false,
    ...rest,
  };
}

export function tagsPolicy(
  fields: Partial<Record<'immutable' | 'protected' | 'except', string[]>> & { id?: string; semver?: boolean },
): TagsPolicy {
  const patterns = (list: string[] = []) => list as Pattern[];
  return {
    kind: 'tags',
    id: fields.id ?? '1',
    repositories: EVERYTHING,
    immutable: patterns(fields.immutable),
    protected: patterns(fields.protected),
    semver: fields.semver ?? false,
    except: patterns(fields.except),
  };
}

/** A tag that was pushed some days ago. */
export function tag(name: string, daysAgo: number, fields: Partial<TagFacts> = {}): TagFacts {
  return {
    name,
    digest: digestOf(name),
    pushedAt: NOW - daysAgo * DAY_MS,
    pulledAt: null,
    isRunning: false,
    isSigned: false,
    hasSubject: false,
    ...fields,
  };
}

export function pulled(name: string, pushedDaysAgo: number, pulledDaysAgo: number): TagFacts {
  return tag(name, pushedDaysAgo, { pulledAt: NOW - pulledDaysAgo * DAY_MS });
}
