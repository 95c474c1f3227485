/** Plans of the retention policies: what is about to be deleted, with its rules and bytes. */
import * as z from 'zod/mini';
import { authorOf } from '../auth/author.ts';
import type { Plan, PlannedTag } from '../lifecycle/plan.ts';
import { OciError } from '../oci/errors.ts';
import { NO_AUTHOR } from '../oci/upkeep.ts';
import { hasRepository, repositoryOf } from '../stubs.ts';
import { type ApiCaller, type Operation, operation } from './operation.ts';
import { pageOfList } from './pages.ts';
import { paged, pageOf, time, timeOf } from './schemas.ts';

const STATES = [
  'counting',
  'waiting',
  'approval',
  'applying',
  'applied',
  'cancelled',
  'replaced',
  'making',
] as const;

const plan = z.object({
  id: z.string(),
  state: z
    .enum(STATES)
    .check(
      z.describe(
        'counting: the bytes are counted. waiting: it is applied at applyAt. approval: it waits for a person. The last ones are ends.',
      ),
    ),
  madeAt: time,
  applyAt: time,
  tags: z.number().check(z.describe('The tags that it deletes.')),
  of: z.number().check(z.describe('The tags that the repository had.')),
  manifests: z.number().check(z.describe('The manifests that are deleted with them.')),
  bytes: z.number().check(z.describe('What the store frees. Blobs of other repositories are not in it.')),
  approval: z.nullable(z.string()).check(z.describe('Why it waits for a person.')),
  deleted: z.number(),
  kept: z.number().check(z.describe('Tags that a rule kept after all.')),
  deletion: z.nullable(z.string()).check(z.describe('The deletion, by which it can be undone.')),
  actor: z.string().check(z.describe('Who approved, ran or cancelled it.')),
  says: z.string().check(z.describe('What happens next, and what to do about it, in a sentence.')),
});

const tag = z.object({
  tag: z.string(),
  digest: z.string(),
  pushedAt: time,
  why: z.string(),
  policy: z.string(),
});

export const PLANS: Operation[] = [
  operation({
    id: 'plan.get',
    method: 'GET',
    path: '/repositories/{name}/plan',
    requires: { repository: 'pull' },
    summary: 'Show the latest plan of the retention policies, with the tags that it deletes',
    query: z.object(paged),
    status: 200,
    answer: z.object({ plan: z.nullable(plan), tags: z.array(tag) }),
    run: async ({ named, query, request, services: { env } }) => {
      const { count, last } = pageOf(query);
      const after = Number(last ?? 0) || 0;
      const found = (await hasRepository(env, named))
        ? await repositoryOf(env, named).plan(after, count)
        : null;
      if (found === null) throw new OciError('NOT_FOUND', { message: `there is no repository ${named}` });
      const body = {
        plan: found.plan === null ? null : described(found.plan, named),
        tags: found.tags.map(asEntry),
      };
      const end = after + found.tags.length;
      const hasMore = found.plan !== null && found.tags.length === count && end < found.plan.tags;
      return pageOfList(request, body, hasMore ? { last: String(end) } : null);
    },
  }),
  operation({
    id: 'plan.act',
    method: 'POST',
    path: '/repositories/{name}/plan',
    requires: { repository: 'delete' },
    summary: 'Cancel, approve or run the plan of the retention policies',
    description:
      'A plan that is cancelled is made again after 7 days. A plan that is run is applied at once, and does not wait for its time.',
    body: z.strictObject({
      action: z.enum(['cancel', 'approve', 'run']),
      id: z.optional(z.string()).check(z.describe('Only this plan. Without it, the one that is open.')),
      dryRun: z._default(z.boolean(), false).check(z.describe('Nothing is changed.')),
    }),
    example: { action: 'cancel' },
    status: 200,
    answer: plan,
    errors: { 409: 'There is no plan that can be changed so.' },
    run: async ({ named, body, caller, services: { env } }) => {
      const { action, id = null, dryRun } = body;
      const state = (await hasRepository(env, named)) ? repositoryOf(env, named) : null;
      const changed = dryRun
        ? ((await state?.plan(0, 0))?.plan ?? null)
        : ((await state?.actOnPlan(action, id, authorIn(caller))) ?? null);
      if (changed === null) {
        const message = `there is no plan of ${named} to ${action}: look at GET /repositories/{name}/plan`;
        throw new OciError('CONFLICT', { message });
      }
      return {
        body: described(changed, named),
        changed: `${named}: ${dryRun ? 'dry run: ' : ''}${action} ${changed.id}`,
      };
    },
  }),
];

function authorIn({ identity, client, access }: ApiCaller) {
  return access === null ? NO_AUTHOR : authorOf(identity.subject, client, access);
}

function described({ madeAt, applyAt, ...plan }: Plan, name: string) {
  return {
    ...plan,
    madeAt: timeOf(madeAt),
    applyAt: timeOf(applyAt),
    says: sentenceOf({ madeAt, applyAt, ...plan }, name),
  };
}

function sentenceOf(
  { state, tags, manifests, bytes, applyAt, approval, deleted, deletion, kept }: Plan,
  name: string,
): string {
  const what = `${tags} tags and ${manifests} manifests, which frees ${bytes} bytes`;
  switch (state) {
    case 'making':
    case 'counting':
      return `the bytes of ${tags} tags are being counted`;
    case 'waiting':
      return `deletes ${what}, at ${timeOf(applyAt)}. To stop it: longshore plan cancel ${name}`;
    case 'approval':
      return `would delete ${what}, and waits because ${approval}. To go on: longshore plan approve ${name}`;
    case 'applying':
      return `has deleted ${deleted} of ${tags} tags so far`;
    case 'applied':
      return `deleted ${deleted} tags and kept ${kept}.${deletion === null ? '' : ` To undo it: longshore restore ${name} --deletion ${deletion}`}`;
    case 'cancelled':
      return 'was cancelled. The next plan is made 7 days later';
    case 'replaced':
      return 'is replaced by the next plan';
  }
}

function asEntry({ pushedAt, ...entry }: PlannedTag) {
  return { ...entry, pushedAt: timeOf(pushedAt) };
}
