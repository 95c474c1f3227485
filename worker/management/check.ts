/**
 * The consistency check. Its caller reads all records, compares them, and sends what does not fit; `longshore check` does. The registry
 * keeps nothing of a check, so one that breaks off leaves nothing behind, and any number may run.
 */
import * as z from 'zod/mini';
import { isContentId } from '../blobs/storage-key.ts';
import { CALLS_DEFAULT, CALLS_MAX, CALLS_MIN, Calls } from '../check/calls.ts';
import { type Examined, examine, FINDING_CALLS, type Finding } from '../check/findings.ts';
import { beginLeftovers, continueLeftovers, LEFTOVER_AGE_MS, LEFTOVERS_MAX } from '../check/leftovers.ts';
import { type CheckRecord, walk } from '../check/walk.ts';
import { isDigest } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import { isRepositoryName } from '../oci/reference.ts';
import { type Operation, operation } from './operation.ts';
import { time, timeOf } from './schemas.ts';

const PLACE_MAX_LENGTH = 2000;
const FINDINGS_MAX = 100;
const TOKEN_MAX_LENGTH = 60_000;
const UPLOAD_ID_MAX_LENGTH = 300;

const callsText = `How many calls the request may make. Default ${CALLS_DEFAULT}, which fits the Free plan; with Workers Paid up to ${CALLS_MAX}.`;
const calls = z._default(
  z.int().check(z.gte(CALLS_MIN), z.lte(CALLS_MAX), z.describe(callsText)),
  CALLS_DEFAULT,
);
const repair = z._default(z.boolean(), false).check(z.describe('Repair what is wrong.'));
const digest = z.string().check(z.refine(isDigest, 'is a digest'));
const repository = z.string().check(z.refine(isRepositoryName, 'is the name of a repository'));
const id = z.string().check(z.refine(isContentId, 'is a uuid'));
const key = z.string().check(z.regex(/^blobs\/[0-9a-f-]{36}(\/(\d{1,6}|parts))?$/, 'is a storage key'));
const link = z.string().check(z.maxLength(64));
const size = z.int().check(z.gte(0));

const record = z.union([
  z.object({ kind: z.literal('draft'), id: z.string() }),
  z.object({
    kind: z.literal('content'),
    digest: z.string(),
    key: z.string(),
    size: z.number(),
    state: z.enum(['stored', 'expected', 'deleting']),
    isLeft: z.boolean(),
  }),
  z.object({
    kind: z.literal('link'),
    digest: z.string(),
    key: z.string(),
    repository: z.string(),
    link: z.string(),
    settled: z.boolean(),
    hasContent: z.boolean(),
  }),
  z.object({
    kind: z.literal('blob'),
    repository: z.string(),
    digest: z.string(),
    key: z.string(),
    size: z.number(),
    link: z.string(),
  }),
  z.object({
    kind: z.literal('missing'),
    repository: z.string(),
    manifest: z.string(),
    digest: z.string(),
  }),
  z.object({
    kind: z.literal('stored'),
    id: z.string(),
    isOld: z.boolean().check(z.describe('Old enough to be deleted if nothing knows it.')),
    changedAt: time,
    keys: z.array(z.object({ key: z.string(), size: z.nullable(z.number()) })),
  }),
  z.object({
    kind: z.literal('multipart'),
    id: z.string(),
    uploadId: z.string(),
    isOld: z.boolean(),
    begunAt: time,
  }),
]);

const linked = { digest, key, repository, link };
const finding = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('unlinked'), ...linked, size }),
  z.strictObject({ kind: z.literal('lost'), digest, key, size }),
  z.strictObject({ kind: z.literal('stale'), ...linked }),
  z.strictObject({ kind: z.literal('left'), digest, key }),
  z.strictObject({ kind: z.literal('missing'), repository, manifest: digest, digest }),
]);

const leftover = {
  id,
  uploadId: z._default(z.nullable(z.string().check(z.maxLength(UPLOAD_ID_MAX_LENGTH))), null),
};

export const CHECK: Operation[] = [
  operation({
    id: 'check.list',
    method: 'GET',
    path: '/check/records',
    requires: 'admin',
    summary: 'Read a page of all that the registry knows and stores, to compare it',
    description:
      'First what the sessions, shards and repositories know, then what is in the store. Nothing is written. `longshore check` compares the records.',
    query: z.object({
      after: z.optional(
        z.string().check(z.maxLength(PLACE_MAX_LENGTH), z.describe('`next` of the page before.')),
      ),
      calls: z.optional(z.string().check(z.regex(/^\d{1,3}$/, 'is a whole number'), z.describe(callsText))),
    }),
    status: 200,
    answer: z.object({
      records: z.array(record),
      next: z.nullable(z.string()).check(z.describe('null on the last page.')),
    }),
    run: async ({ query, services }) => {
      const count = Math.min(Math.max(Number(query.calls ?? CALLS_DEFAULT), CALLS_MIN), CALLS_MAX);
      const page = await walk(services.env, services.multiparts, query.after ?? null, count);
      return { body: { records: page.records.map(recordOf), next: page.next } };
    },
  }),
  operation({
    id: 'check.examine',
    method: 'POST',
    path: '/check/findings',
    requires: 'admin',
    summary: 'Look again at what does not fit together, and repair it',
    description:
      'Records of pages that were read at different times may not fit although nothing is wrong. So each finding is looked at again first.',
    body: z.strictObject({
      findings: z.array(finding).check(z.minLength(1), z.maxLength(FINDINGS_MAX)),
      repair,
      calls,
    }),
    example: {
      findings: [{ kind: 'left', digest: `sha256:${'0'.repeat(64)}`, key: `blobs/${'0'.repeat(36)}` }],
    },
    status: 200,
    answer: z.object({
      results: z
        .array(
          z.object({
            state: z
              .enum(['found', 'repaired', 'lost', 'gone'])
              .check(
                z.describe(
                  'lost: what is lost was dropped, and must be pushed again. gone: nothing is wrong.',
                ),
              ),
            advice: z.string(),
          }),
        )
        .check(
          z.describe('Of the first findings, as many as the calls were enough for: send the others again.'),
        ),
    }),
    run: async ({ body, services }) => {
      const allowed = new Calls(body.calls);
      const results: Examined[] = [];
      for (const one of body.findings as Finding[]) {
        if (!allowed.take(FINDING_CALLS)) break;
        results.push(await examine(services.env, one, body.repair));
      }
      const repaired = results.filter(({ state }) => state === 'repaired' || state === 'lost').length;
      return { body: { results }, changed: repaired === 0 ? null : `${repaired} findings` };
    },
  }),
  operation({
    id: 'check.leftovers',
    method: 'POST',
    path: '/check/leftovers',
    requires: 'admin',
    summary: 'Find out which stored content is in no use, and delete it',
    description: `Every object is asked whether it knows the content, which takes several requests: send the token of each answer until it is null. What was written in the last ${LEFTOVER_AGE_MS / 3600_000} hours stays.`,
    body: z.strictObject({
      leftovers: z.optional(
        z.array(z.strictObject(leftover)).check(z.minLength(1), z.maxLength(LEFTOVERS_MAX)),
      ),
      repair,
      token: z.optional(z.string().check(z.maxLength(TOKEN_MAX_LENGTH))),
      calls,
    }),
    example: { leftovers: [{ id: '00000000-0000-4000-8000-000000000000' }], repair: false },
    status: 200,
    answer: z.object({
      leftovers: z
        .array(z.object({ id: z.string(), uploadId: z.nullable(z.string()) }))
        .check(z.describe('In no use. With `repair`, they were deleted.')),
      token: z.nullable(z.string()),
    }),
    run: async ({ body, services }) => {
      const { env, multiparts } = services;
      const context = { env, multiparts, key: await services.checkKey() };
      if ((body.token === undefined) === (body.leftovers === undefined))
        throw new OciError('INPUT_INVALID', { message: 'there must be either leftovers or a token' });
      const step =
        body.token === undefined
          ? await beginLeftovers(context, body.leftovers ?? [], body.repair, body.calls)
          : await continueLeftovers(context, body.token, body.calls);
      const names = step.leftovers.map((one) => one.id).join(' ');
      const { leftovers, token } = step;
      return { body: { leftovers, token }, changed: step.isRepair && names !== '' ? names : null };
    },
  }),
];

function recordOf(one: CheckRecord) {
  const isOld = (at: number) => at < Date.now() - LEFTOVER_AGE_MS;
  if (one.kind === 'stored') return { ...one, isOld: isOld(one.changedAt), changedAt: timeOf(one.changedAt) };
  if (one.kind !== 'multipart') return one;
  const { key: stored, begunAt, ...multipart } = one;
  return { ...multipart, id: stored.split('/')[1] ?? '', isOld: isOld(begunAt), begunAt: timeOf(begunAt) };
}
