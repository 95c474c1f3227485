/** Promotions: an image of one repository appears in another, without copying its blobs. */
import * as z from 'zod/mini';
import { checkTags } from '../access/conditions.ts';
import { authorOf } from '../auth/author.ts';
import { isDigest } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import type { Pattern } from '../oci/pattern.ts';
import type { Promoted, Promotion } from '../oci/promotion.ts';
import {
  parseOwnTag,
  parseReference,
  parseRepositoryName,
  pastTag,
  type Reference,
  type RepositoryName,
} from '../oci/reference.ts';
import { accessTo } from './authenticate.ts';
import { accessOf, digest } from './deletions.ts';
import { type Operation, operation } from './operation.ts';

/** Tags that one promotion sets. */
const TAGS_MAX = 20;
/** A repository name, and a tag or a digest. */
const FROM_MAX_LENGTH = 600;
/** What is left out, in one answer. */
const LEFT_OUT_TOLD = 100;

const body = z.strictObject({
  from: z
    .string()
    .check(
      z.maxLength(FROM_MAX_LENGTH),
      z.describe('`REPOSITORY:TAG` or `REPOSITORY@DIGEST`.'),
      z.meta({ examples: ['dev/api:sha-abc'] }),
    ),
  digest: z.optional(
    digest.check(
      z.describe(
        'In the second step and later: the digest of the first answer. The tag may have moved since.',
      ),
    ),
  ),
  tags: z
    .array(z.string().check(z.minLength(1), z.maxLength(128)))
    .check(z.minLength(1), z.maxLength(TAGS_MAX), z.describe('The tags in the target.')),
  attest: z
    ._default(z.boolean(), false)
    .check(z.describe('Attach a statement of who promoted what, and when, as a referrer.')),
  dryRun: z
    ._default(z.boolean(), false)
    .check(z.describe('Change nothing: the answer says what would be done.')),
});

const promoted = z.object({
  dryRun: z.boolean(),
  state: z
    .enum(['running', 'done'])
    .check(
      z.describe(
        '`running`: nothing is visible yet. Send the same request again, with `digest` of this answer.',
      ),
    ),
  from: z.string().check(z.describe('The image, as the history names it.')),
  digest: z.string(),
  tags: z.array(
    z.object({
      tag: z.string(),
      digest: z.string(),
      before: z.nullable(z.string()).check(z.describe('What the tag led to before this step.')),
    }),
  ),
  manifests: z.object({
    total: z.number().check(z.describe('The image, its children, referrers and signatures.')),
    copied: z.number().check(z.describe('Those that the target did not have.')),
  }),
  blobs: z.object({
    total: z.number(),
    linked: z.number().check(z.describe('By this step.')),
    remaining: z.number(),
  }),
  bytes: z.number().check(z.describe('The blobs of the image. None of them is copied.')),
  leftOut: z
    .array(
      z.object({
        what: z.string(),
        why: z.enum(['referrers over the limit', 'tag is there', 'tag not covered', 'referrers not covered']),
      }),
    )
    .check(z.describe('Signatures and referrers that are not promoted. Up to 100.')),
  attestation: z.nullable(z.string()).check(z.describe('The digest of the attestation.')),
});

export const PROMOTIONS: Operation[] = [
  operation({
    id: 'promotion.create',
    method: 'POST',
    path: '/repositories/{name}/promotions',
    requires: { repository: 'push' },
    summary: 'Promote an image of another repository to this one',
    description:
      'Also needs pull on the other repository. Children, referrers and signatures come along. No blob is copied. A large image takes several steps, and its tags appear in the last one, all at once.',
    body,
    example: { from: 'dev/api:sha-abc', tags: ['1.4.2'] },
    status: 200,
    answer: promoted,
    errors: {
      404: 'There is no such repository for the caller, or no such image.',
      409: 'The image was deleted meanwhile.',
    },
    run: async ({ named, body, caller, services }) => {
      const { dryRun, attest: attests } = body;
      const access = accessOf(caller);
      const { from, reference } = imageOf(body.from);
      // As if it did not exist, for a caller who may not pull it.
      await accessTo(from, caller.identity, caller.client, services);
      const tags = [...new Set(body.tags.map(parseOwnTag))];
      checkTags(access, 'push', tags);
      const promotion: Promotion = {
        from,
        reference,
        digest: body.digest !== undefined && isDigest(body.digest) ? body.digest : null,
        to: parseRepositoryName(named),
        tags,
        pushes: (access.tags?.push ?? []) as Pattern[][],
        attests,
        dryRun,
      };
      const answer = await services.promote(
        promotion,
        authorOf(caller.identity.subject, caller.client, access),
      );
      const isChange = answer.isDone && !dryRun;
      const changed = isChange ? `${tags.join(' ')} ${answer.digest} from ${answer.source}` : null;
      return { body: bodyOf(answer, dryRun), changed };
    },
  }),
];

function bodyOf({ isDone, source, leftOut, ...answer }: Promoted, dryRun: boolean) {
  return {
    ...answer,
    dryRun,
    state: isDone ? 'done' : 'running',
    from: source,
    leftOut: leftOut.slice(0, LEFT_OUT_TOLD),
  };
}

/** Throws INPUT_INVALID, NAME_INVALID, TAG_INVALID, DIGEST_INVALID. */
function imageOf(text: string): { from: RepositoryName; reference: Reference } {
  const [, name, tag, found] = /^([^:@]*)(?::([^@]*)|@(.*))$/s.exec(text) ?? [];
  const reference = tag ?? found;
  if (name === undefined || reference === undefined || (found !== undefined && !isDigest(found))) {
    throw new OciError('INPUT_INVALID', {
      message: 'from: is REPOSITORY:TAG or REPOSITORY@DIGEST, such as dev/api:sha-abc',
    });
  }
  const parsed = parseReference(reference);
  if (parsed.kind === 'tag' && pastTag(parsed.tag) !== null) {
    throw new OciError('INPUT_INVALID', {
      message: `from: ${parsed.tag} is a tag as it was at a time: promote its digest`,
    });
  }
  return { from: parseRepositoryName(name), reference: parsed };
}
