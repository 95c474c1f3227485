/** What the retention policies say about each tag: of the policies that a repository has, and of one that is only tried. */
import * as z from 'zod/mini';
import { type LifecyclePolicy, policiesOf } from '../lifecycle/policy.ts';
import type { JudgedTag } from '../lifecycle/retention.ts';
import type { JudgedPage } from '../objects/repository.ts';
import { OciError } from '../oci/errors.ts';
import { isRepositoryName } from '../oci/reference.ts';
import { catalogOf, hasRepository, repositoryOf } from '../stubs.ts';
import { newLifecyclePolicy } from './lifecycle.ts';
import { type ManagementServices, type Operation, type OperationResult, operation } from './operation.ts';
import { pageOfList } from './pages.ts';
import { paged, pageOf, time, timeOf } from './schemas.ts';

const judged = z.object({
  tag: z.string(),
  digest: z.string(),
  pushedAt: time,
  pulledAt: z.nullable(time).check(z.describe('The last pull, to the hour. null for never.')),
  running: z.boolean(),
  state: z.enum(['kept', 'expires', 'expired']),
  at: z
    .nullable(time)
    .check(z.describe('When the tag expires, or expired; null where time alone does not change it.')),
  why: z.string().check(z.meta({ examples: ['kept: one of the 10 last pushed of release-*'] })),
  policy: z.nullable(z.string()).check(z.describe('The lifecycle policy that decides.')),
});

const answer = z.object({ tags: z.array(judged) });

const preview = z.strictObject({
  repository: z
    .string()
    .check(z.refine(isRepositoryName, 'is not a repository name'), z.meta({ examples: ['team-a/api'] })),
  policy: newLifecyclePolicy,
  replaces: z
    .optional(z.string())
    .check(
      z.describe('The lifecycle policy that this one is to replace. Without it, it is an additional one.'),
    ),
});

export const RETENTION: Operation[] = [
  operation({
    id: 'repository.retention',
    method: 'GET',
    path: '/repositories/{name}/retention',
    requires: { repository: 'pull' },
    summary: 'List the tags of a repository, each with the rule that keeps it, or when it expires and why',
    query: z.object(paged),
    status: 200,
    answer,
    run: async ({ named, query, request, services }) =>
      listing(request, await judge(services, named, null, pageOf(query))),
  }),
  operation({
    id: 'lifecycle.preview',
    method: 'POST',
    path: '/lifecycle/preview',
    requires: 'admin',
    summary: 'Try a lifecycle policy on the tags of a repository. Nothing is stored',
    query: z.object(paged),
    body: preview,
    example: {
      repository: 'team-a/api',
      policy: { kind: 'retention', repositories: 'team-a/**', keep: [{ lastPushed: 10 }], after: 'P30D' },
    },
    status: 200,
    answer,
    errors: { 404: 'There is no such repository, or no such policy to replace.' },
    run: async ({ query, body, request, services }) => {
      const stored = await catalogOf(services.env).listLifecycle();
      const { repository, policy, replaces } = body;
      if (replaces !== undefined && !stored.some(({ id }) => id === replaces))
        throw new OciError('NOT_FOUND', { message: 'there is no lifecycle policy of this id to replace' });
      const others = stored.filter(({ id }) => id !== replaces);
      const all: LifecyclePolicy[] = [...others, { ...policy, id: replaces ?? 'new' }];
      const page = await judge(services, repository, policiesOf(all, repository), pageOf(query));
      return { ...listing(request, page), changed: repository };
    },
  }),
];

async function judge(
  { env }: ManagementServices,
  name: string,
  policies: LifecyclePolicy[] | null,
  { count, last }: { count: number; last: string | null },
): Promise<JudgedPage> {
  const page = (await hasRepository(env, name))
    ? await repositoryOf(env, name).retention(policies, count, last)
    : null;
  if (page === null) throw new OciError('NOT_FOUND', { message: `there is no repository ${name}` });
  return page;
}

function listing(request: Request, { tags, last }: JudgedPage): OperationResult {
  return pageOfList(request, { tags: tags.map(described) }, last === null ? null : { last });
}

function described(judged: JudgedTag) {
  const { name: tag, digest, pushedAt, pulledAt, isRunning: running, why, policy } = judged;
  const at = judged.state === 'kept' ? judged.until : judged.at;
  const hasPassed = judged.state === 'expires' && judged.at <= Date.now();
  return {
    tag,
    digest,
    pushedAt: timeOf(pushedAt),
    pulledAt: pulledAt === null ? null : timeOf(pulledAt),
    running,
    state: hasPassed ? ('expired' as const) : judged.state,
    at: at === null ? null : timeOf(at),
    why,
    policy,
  };
}
