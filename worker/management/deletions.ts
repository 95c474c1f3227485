/** Deletions in a repository, and how they are undone. */
import * as z from 'zod/mini';
import { checkTags } from '../access/conditions.ts';
import type { Access } from '../access/decide.ts';
import { authorOf } from '../auth/author.ts';
import type { RepositoryObject } from '../objects/repository.ts';
import { type Digest, isDigest } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import { parseOwnTag } from '../oci/reference.ts';
import type { Deletion, NotRestored, Removal, Removed } from '../oci/upkeep.ts';
import { hasRepository, repositoryOf, type Stub } from '../stubs.ts';
import { type ApiCaller, type ManagementServices, type Operation, operation } from './operation.ts';
import { nextPage, pageOfList } from './pages.ts';
import { paged, pageOf, time, timeOf } from './schemas.ts';

/** Tags and manifests that one request names. */
const NAMED_MAX = 500;
/** Calls that find out how many bytes a deletion frees. A request on the Free plan makes at most 50. */
const FREED_CALLS_MAX = 30;
/** Calls that restore what belongs to a tag. */
const RESTORE_CALLS_MAX = 30;

export const digest = z
  .string()
  .check(
    z.refine(isDigest, 'is a digest, such as sha256: and 64 hexadecimal digits'),
    z.meta({ examples: [`sha256:${'0'.repeat(64)}`] }),
  );
const tagName = z.string().check(z.minLength(1), z.maxLength(128), z.meta({ examples: ['v1'] }));
const dryRun = z
  ._default(z.boolean(), false)
  .check(z.describe('Change nothing: the answer says what would be done.'));
const because = z
  .enum(['named', 'untagged', 'child', 'referrer', 'signature'])
  .check(z.describe('Why it goes: it was named, or only what goes needs it.'));
const bytes = z
  .number()
  .check(z.describe('What the store frees. Blobs that something else needs are not counted.'));

const deletion = z.object({
  id: z.string(),
  at: time,
  actor: z.string(),
  address: z.string(),
  why: z.string(),
  what: z.enum(['tags', 'manifests', 'repository']),
  names: z.array(z.string()).check(z.describe('Some of what was named.')),
  tags: z.number().check(z.describe('How many tags are gone. While it is deleting, so far.')),
  manifests: z.number(),
  bytes: z.number().check(z.describe('The blobs that no other manifest of this repository names.')),
  undoUntil: time,
  state: z.enum(['deleting', 'deleted', 'restoring', 'restored']),
});

const taggedDigest = z.object({ tag: z.string(), digest: z.string() });

const removed = z.object({
  dryRun: z.boolean(),
  deletion: z
    .nullable(deletion)
    .check(z.describe('null for a dry run, and where nothing was deleted or it cannot be undone.')),
  tags: z.array(taggedDigest).check(z.describe('Up to 1,000.')),
  manifests: z.array(z.object({ digest: z.string(), mediaType: z.string(), why: because })),
  tagCount: z.number(),
  manifestCount: z.number(),
  bytes: z.nullable(bytes),
  freedBy: time.check(z.describe('By when the bytes are freed, if this is not undone.')),
  undoUntil: z.nullable(time).check(z.describe('null where deletions cannot be undone.')),
  undo: z.nullable(z.string()).check(z.describe('The command that undoes it.')),
  unknown: z.array(z.string()).check(z.describe('What was named and is not there.')),
});

const removal = z
  .strictObject({
    tags: z._default(z.array(tagName).check(z.maxLength(NAMED_MAX)), []),
    manifests: z._default(z.array(digest).check(z.maxLength(NAMED_MAX)), []),
    all: z._default(z.boolean(), false).check(z.describe('The whole repository.')),
    dryRun,
  })
  .check(
    z.refine(
      ({ tags, manifests, all }) => all !== tags.length + manifests.length > 0,
      'names tags or manifests, or is for all',
    ),
  );

const restoration = z
  .strictObject({
    deletion: z.optional(z.string().check(z.describe('Restore all of a deletion.'))),
    tag: z.optional(
      tagName.check(z.describe('Or restore one tag: to `at`, to `digest`, or to what it was last.')),
    ),
    at: z.optional(z.iso.datetime({ offset: true })),
    digest: z.optional(digest),
    force: z._default(z.boolean(), false).check(z.describe('Move tags back that have moved since.')),
    dryRun,
  })
  .check(
    z.refine(
      ({ deletion, tag }) => (deletion === undefined) !== (tag === undefined),
      'names either a deletion or a tag',
    ),
    z.refine(
      ({ tag, at, digest }) =>
        !(at !== undefined && digest !== undefined) && (tag !== undefined || (at ?? digest) === undefined),
      'has at or digest only with a tag, and not both',
    ),
  );

const restored = z.object({
  dryRun: z.boolean(),
  tags: z.array(taggedDigest).check(z.describe('Tags that lead to these digests again. Up to 1,000.')),
  tagCount: z.number(),
  manifestCount: z.number(),
  conflicts: z
    .array(z.object({ tag: z.string(), digest: z.nullable(z.string()), wanted: z.string() }))
    .check(z.describe('Tags that have moved since, and stay unless that is forced.')),
  isUnderWay: z
    .boolean()
    .check(
      z.describe(
        'Of a deletion, the rest follows in the background. Of a tag, repeat the request for the rest.',
      ),
    ),
});

export const DELETIONS: Operation[] = [
  operation({
    id: 'deletion.create',
    method: 'POST',
    path: '/repositories/{name}/deletions',
    requires: { repository: 'delete' },
    summary: 'Delete tags, manifests or the whole repository',
    description:
      'What only the deleted tags and manifests need goes with them: children of an index, referrers and signatures. Everything is gone at once, and can be restored until `undoUntil`.',
    body: removal,
    example: { tags: ['v1'], dryRun: true },
    status: 200,
    answer: removed,
    run: async ({ named, body, caller, services }) => {
      const { dryRun, tags, manifests, all } = body;
      const access = accessOf(caller);
      if (tags.length > 0) checkTags(access, 'delete', tags);
      if (all || manifests.length > 0) checkAllTags(access);
      const by = authorOf(caller.identity.subject, caller.client, access);
      const what = all ? { all } : { tags, manifests: manifests as Digest[] };
      const found = await stateOf(services, named);
      const bytes = await freedBytes(found, what);
      const answer = await found.delete(what, { ...by, why: 'delete', dryRun, deletion: null });
      if (answer === null) throw unknownRepository(named);
      if ('refused' in answer) throw new OciError('DENIED', { message: answer.refused });
      const isChange = !dryRun && answer.tagCount + answer.manifestCount > 0;
      if (isChange) {
        const digests = answer.manifests.map((one) => one.digest);
        await services.forgetManifests(named, digests);
      }
      const names = all ? 'all' : [...tags, ...manifests].join(' ');
      return { body: { ...removedOf(named, dryRun, answer), bytes }, changed: isChange ? names : null };
    },
  }),
  operation({
    id: 'deletion.list',
    method: 'GET',
    path: '/repositories/{name}/deletions',
    requires: { repository: 'pull' },
    summary: 'List deletions that can be undone, the latest first',
    query: z.object(paged),
    status: 200,
    answer: z.object({ deletions: z.array(deletion) }),
    run: async ({ named, query, request, services }) => {
      const { count, last } = pageOf(query);
      const listing = await (await stateOf(services, named)).deletions(last, count);
      if (listing === null) throw unknownRepository(named);
      const deletions = listing.entries.map(deletionOf);
      return pageOfList(
        request,
        { deletions },
        nextPage(listing, ({ id }) => id),
      );
    },
  }),
  operation({
    id: 'restore.create',
    method: 'POST',
    path: '/repositories/{name}/restores',
    requires: { repository: 'push' },
    summary: 'Restore a deletion, or a tag',
    description:
      'A restore can be repeated: what is there already stays as it is. A tag comes with its manifest, what that names, and what refers to it.',
    body: restoration,
    example: { tag: 'v1', at: '2026-11-01T09:00:00Z', dryRun: true },
    status: 200,
    answer: restored,
    errors: {
      404: 'There is no such repository for the caller, no such deletion, or the tag led to nothing.',
      409: 'The tag is there: say at or digest. Or what it led to is gone for good.',
    },
    run: async ({ named, body, caller, services }) => {
      const { deletion: id, tag, at, digest, force, dryRun } = body;
      const access = accessOf(caller);
      if (tag === undefined) checkAllTags(access);
      else checkTags(access, 'push', [parseOwnTag(tag)]);
      const by = authorOf(caller.identity.subject, caller.client, access);
      const what =
        tag === undefined
          ? { deletion: id ?? '' }
          : {
              tag,
              at: at === undefined ? null : Date.parse(at),
              digest: (digest ?? null) as Digest | null,
            };
      const state = await stateOf(services, named);
      const answer = await state.restore(named, what, { ...by, why: 'restore', dryRun, force });
      if (typeof answer === 'string') throw notRestored(answer, named, tag ?? id ?? '');
      if ('refused' in answer) throw new OciError('DENIED', { message: answer.refused });
      // What belongs to a tag comes back in several calls, if it is much.
      for (let calls = 1; tag !== undefined && !dryRun && answer.isUnderWay; calls++) {
        if (calls > RESTORE_CALLS_MAX) break;
        const rest = { tag, at: null, digest: answer.tags[0]?.digest ?? null };
        const more = await state.restore(named, rest, { ...by, why: 'restore', dryRun, force });
        if (typeof more === 'string' || !('isUnderWay' in more)) break;
        answer.manifestCount += more.manifestCount;
        answer.isUnderWay = more.isUnderWay;
      }
      return { body: { dryRun, ...answer }, changed: dryRun ? null : (tag ?? `deletion ${id}`) };
    },
  }),
  operation({
    id: 'purge.create',
    method: 'POST',
    path: '/repositories/{name}/purges',
    requires: { repository: 'delete' },
    summary: 'Delete for good what a deletion has deleted',
    description: 'This cannot be undone. It is for secrets that were pushed by mistake.',
    body: z.strictObject({ deletion: z.string(), dryRun }),
    example: { deletion: 'g0abc12345', dryRun: true },
    status: 200,
    answer: z.object({ dryRun: z.boolean(), deletion }),
    errors: { 404: 'There is no such repository for the caller, or no such deletion.' },
    run: async ({ named, body, caller, services }) => {
      checkAllTags(accessOf(caller));
      const purged = await (await stateOf(services, named)).purge(body.deletion, body.dryRun);
      if (purged === null) throw notRestored('no deletion', named, body.deletion);
      const { dryRun } = body;
      return {
        body: { dryRun, deletion: deletionOf(purged) },
        changed: dryRun ? null : `deletion ${body.deletion}`,
      };
    },
  }),
];

/** In bytes: what a deletion frees. Null if that takes too many calls. */
async function freedBytes(state: Stub<RepositoryObject>, what: Removal): Promise<number | null> {
  let bytes = 0;
  let after = '';
  for (let calls = 0; calls < FREED_CALLS_MAX; calls++) {
    const asked = await state.freedBytes(what, after);
    bytes += asked.bytes;
    if (asked.next === null) return bytes;
    after = asked.next;
  }
  return null;
}

/** The object of a repository. Throws NOT_FOUND for one that never stored something. */
export async function stateOf({ env }: ManagementServices, name: string) {
  if (await hasRepository(env, name)) return repositoryOf(env, name);
  throw unknownRepository(name);
}

/** As for a caller who may not pull it. */
export function unknownRepository(name: string): OciError {
  return new OciError('NOT_FOUND', { message: `there is no repository ${name}` });
}

export function accessOf({ access }: ApiCaller): Access {
  if (access === null) throw new Error('the operation requires no access to a repository');
  return access;
}

/** Throws DENIED for access to some tags only. */
function checkAllTags({ tags }: Access): void {
  if (tags?.delete === undefined && tags?.push === undefined) return;
  throw new OciError('DENIED', {
    message: 'access to some tags deletes and restores only those tags: name them',
  });
}

function removedOf(name: string, dryRun: boolean, answer: Removed) {
  const { deletion, freedBy, undoUntil } = answer;
  return {
    ...answer,
    dryRun,
    deletion: deletion === null ? null : deletionOf(deletion),
    freedBy: timeOf(freedBy),
    undoUntil: undoUntil === null ? null : timeOf(undoUntil),
    undo: deletion === null ? null : `longshore restore ${name} --deletion ${deletion.id}`,
  };
}

function deletionOf(deletion: Deletion) {
  const { at, undoUntil } = deletion;
  return { ...deletion, at: timeOf(at), undoUntil: timeOf(undoUntil) };
}

function notRestored(why: NotRestored, name: string, what: string): OciError {
  if (why === 'no deletion') {
    return new OciError('NOT_FOUND', {
      message: `${name} has no deletion ${what} that can be undone: list them with longshore trash ${name}`,
    });
  }
  if (why === 'no such tag then')
    return new OciError('NOT_FOUND', { message: `the tag ${what} of ${name} led to nothing then` });
  const message =
    why === 'the tag is there'
      ? `the tag ${what} of ${name} is there: say the time (--at) or the digest that it is to lead to`
      : `what the tag ${what} of ${name} led to is gone for good`;
  return new OciError('CONFLICT', { message });
}
