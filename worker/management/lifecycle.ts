/** Lifecycle policies: how long tags are kept, which tags may move, and how much repositories may hold. */
import * as z from 'zod/mini';
import type { LifecyclePolicy } from '../lifecycle/policy.ts';
import type { NewLifecyclePolicy } from '../objects/catalog.ts';
import { OciError } from '../oci/errors.ts';
import { catalogOf, hasRepository, repositoryOf } from '../stubs.ts';
import { type ManagementServices, type Operation, type OperationResult, operation } from './operation.ts';
import { pattern } from './schemas.ts';

/** Images that a counting rule keeps at most. */
const COUNT_MAX = 1000;
const DAYS_MAX = 3650;
const KEEP_RULES_MAX = 20;
const TAG_PATTERNS_MAX = 50;
/** Policies of one registry. */
const POLICIES_MAX_MESSAGE = 'there are 500 lifecycle policies already: delete one, or change one';

const count = z.int().check(z.gte(1), z.lte(COUNT_MAX));
const ruleDays = z.int().check(z.gte(1), z.lte(DAYS_MAX));

const limit = z.int().check(z.gte(0));

const DURATION = /^P(\d{1,4})D$/;

/** Days, as a number or in the notation of ISO 8601. */
const days = z
  .pipe(
    z.union([
      z.int().check(z.gte(0), z.lte(DAYS_MAX)),
      z.string().check(z.regex(DURATION, 'is a number of days, or a duration such as P30D')),
    ]),
    z.transform((value: number | string) => (typeof value === 'number' ? value : Number(value.slice(1, -1)))),
  )
  .check(z.describe('In days: a number, or a duration such as `P30D`.'));

const keepRule = z.union([
  z.strictObject({ lastPushed: count.check(z.describe('The images that were pushed last.')) }),
  z.strictObject({ lastPulled: count.check(z.describe('The images that were pulled last.')) }),
  z.strictObject({
    newestOfEachMinor: count.check(z.describe('The newest versions of each minor version, such as 1.4.')),
  }),
  z.strictObject({ youngerThan: ruleDays.check(z.describe('Tags that were pushed within these days.')) }),
  z.strictObject({ pulledWithin: ruleDays.check(z.describe('Tags that were pulled within these days.')) }),
  z.strictObject({ matches: pattern }),
  z.strictObject({ running: z.literal(true).check(z.describe('Images that are reported as running.')) }),
  z.strictObject({ signed: z.literal(true).check(z.describe('Images that have a signature.')) }),
]);

const tagPatterns = z._default(z.array(pattern).check(z.maxLength(TAG_PATTERNS_MAX)), []);

const KINDS = {
  retention: {
    kind: z.literal('retention'),
    repositories: pattern,
    tags: z
      ._default(z.nullable(pattern), null)
      .check(z.describe('The tags that the policy covers. null for all tags.')),
    keep: z
      .array(keepRule)
      .check(z.maxLength(KEEP_RULES_MAX), z.describe('A tag is kept if one of these rules keeps it.')),
    after: days,
    untaggedAfter: z
      ._default(z.nullable(days), null)
      .check(z.describe('Days until a manifest that lost its last tag is deleted. null to keep it.')),
    deletesImmutable: z
      ._default(z.boolean(), false)
      .check(z.describe('Tags that a policy of kind `tags` makes immutable expire too.')),
  },
  tags: {
    kind: z.literal('tags'),
    repositories: pattern,
    immutable: tagPatterns.check(z.describe('Tags that neither move nor are deleted.')),
    protected: tagPatterns.check(z.describe('Tags that only a maintainer moves or deletes.')),
    semver: z
      ._default(z.boolean(), false)
      .check(z.describe('Full versions such as 1.4.2 are immutable. 1.4 and latest move.')),
    except: tagPatterns.check(z.describe('Tags that the policy does not cover.')),
  },
  quota: {
    kind: z.literal('quota'),
    repositories: pattern,
    bytes: z
      ._default(z.nullable(limit), null)
      .check(
        z.describe(
          'Bytes of blobs that each repository may hold. null for no limit. The trash does not count.',
        ),
      ),
    tags: z
      ._default(z.nullable(limit), null)
      .check(z.describe('Tags that each repository may have. null for no limit.')),
    hard: z
      ._default(z.boolean(), true)
      .check(z.describe('Refuse pushes over a limit. Otherwise they are only events of the audit log.')),
  },
};

/** What a caller sends. The id is given by the registry. */
export const newLifecyclePolicy = z.discriminatedUnion('kind', [
  z.strictObject(KINDS.retention),
  z.strictObject(KINDS.tags),
  z
    .strictObject(KINDS.quota)
    .check(z.refine(({ bytes, tags }) => bytes !== null || tags !== null, 'has bytes or tags')),
]) satisfies z.ZodMiniType<NewLifecyclePolicy>;

const id = z.string();

const lifecyclePolicy = z.discriminatedUnion('kind', [
  z.object({ id, ...KINDS.retention }),
  z.object({ id, ...KINDS.tags }),
  z.object({ id, ...KINDS.quota }),
]);

const reach = {
  repositories: z.number().check(z.describe('The repositories that the policy matches.')),
  following: z
    .number()
    .check(z.describe('Those of them that do not know of the change yet. They are told in steps.')),
};

/** What `dryRun` asks for is only checked. */
const dryRun = z.object({
  dryRun: z.optional(
    z.literal('true').check(z.describe('Nothing is changed: the answer says what would be.')),
  ),
});

const changed = z.object({ policy: lifecyclePolicy, ...reach });

const EXAMPLE = {
  kind: 'retention',
  repositories: 'team-a/**',
  tags: 'release-*',
  keep: [{ lastPushed: 10 }, { pulledWithin: 30 }],
  after: 'P30D',
};

const MISSING = 'there is no lifecycle policy of this id';

export const LIFECYCLE: Operation[] = [
  operation({
    id: 'lifecycle.list',
    method: 'GET',
    path: '/lifecycle',
    requires: 'admin',
    summary: 'List lifecycle policies, by age',
    status: 200,
    answer: z.object({ policies: z.array(lifecyclePolicy) }),
    run: async ({ services }) => ({
      body: { policies: await catalogOf(services.env).listLifecycle() },
    }),
  }),
  operation({
    id: 'lifecycle.create',
    method: 'POST',
    path: '/lifecycle',
    requires: 'admin',
    summary: 'Add a lifecycle policy',
    description:
      'A policy of kind `retention` says which tags are kept. Of the policies that cover a tag, the most specific one decides. A policy of kind `tags` says which tags may move, one of kind `quota` how much each repository may hold, and all of these kinds that match a repository apply.',
    query: dryRun,
    body: newLifecyclePolicy,
    example: EXAMPLE,
    status: 201,
    answer: changed,
    run: async ({ query, body, services }) => {
      if (query.dryRun) return unchanged({ ...body, id: '' }, services);
      const made = await catalogOf(services.env).createLifecycle(body);
      if (made === null) throw new OciError('CONFLICT', { message: POLICIES_MAX_MESSAGE });
      return { body: await withReach(made, services), changed: inWords(made) };
    },
  }),
  operation({
    id: 'lifecycle.get',
    method: 'GET',
    path: '/lifecycle/{id}',
    requires: 'admin',
    summary: 'Show a lifecycle policy, and how many repositories know of it',
    status: 200,
    answer: changed,
    errors: { 404: 'There is no lifecycle policy of this id.' },
    run: async ({ named, services }) => {
      return { body: await withReach(await find(named, services), services) };
    },
  }),
  operation({
    id: 'lifecycle.update',
    method: 'PUT',
    path: '/lifecycle/{id}',
    requires: 'admin',
    summary: 'Replace a lifecycle policy',
    query: dryRun,
    body: newLifecyclePolicy,
    example: EXAMPLE,
    status: 200,
    answer: changed,
    errors: { 404: 'There is no lifecycle policy of this id.' },
    run: async ({ named, query, body, services }) => {
      if (query.dryRun) return unchanged({ ...body, id: (await find(named, services)).id }, services);
      const replaced = await catalogOf(services.env).replaceLifecycle(named, body);
      if (replaced === null) throw new OciError('NOT_FOUND', { message: MISSING });
      return { body: await withReach(replaced, services), changed: inWords(replaced) };
    },
  }),
  operation({
    id: 'lifecycle.delete',
    method: 'DELETE',
    path: '/lifecycle/{id}',
    requires: 'admin',
    summary: 'Delete a lifecycle policy',
    query: dryRun,
    status: 200,
    answer: changed,
    errors: { 404: 'There is no lifecycle policy of this id.' },
    run: async ({ named, query, services }) => {
      if (query.dryRun) return unchanged(await find(named, services), services);
      const deleted = await catalogOf(services.env).deleteLifecycle(named);
      if (deleted === null) throw new OciError('NOT_FOUND', { message: MISSING });
      return { body: await withReach(deleted, services), changed: inWords(deleted) };
    },
  }),
  operation({
    id: 'repository.lifecycle',
    method: 'GET',
    path: '/repositories/{name}/lifecycle',
    requires: { repository: 'pull' },
    summary: 'Show the lifecycle policies of a repository',
    status: 200,
    answer: z.object({
      revision: z.number().check(z.describe('The number of the last change that the repository knows of.')),
      policies: z.array(lifecyclePolicy),
    }),
    run: async ({ named, services }) => {
      const { env } = services;
      const known = (await hasRepository(env, named)) ? await repositoryOf(env, named).policies() : null;
      return { body: known ?? (await catalogOf(env).policiesOf(named)) };
    },
  }),
];

/** Throws NOT_FOUND. */
async function find(id: string, { env }: ManagementServices): Promise<LifecyclePolicy> {
  const policies = await catalogOf(env).listLifecycle();
  const found = policies.find((policy) => policy.id === id);
  if (found === undefined) throw new OciError('NOT_FOUND', { message: MISSING });
  return found;
}

/** The answer to a dry run. */
async function unchanged(policy: LifecyclePolicy, services: ManagementServices): Promise<OperationResult> {
  return { body: await withReach(policy, services), changed: `dry run: ${inWords(policy)}` };
}

async function withReach(policy: LifecyclePolicy, { env }: ManagementServices) {
  return { policy, ...(await catalogOf(env).reach(policy.repositories)) };
}

/** For the audit log. */
function inWords({ id, kind, repositories }: LifecyclePolicy): string {
  return `${id}: ${kind} of ${repositories}`;
}
