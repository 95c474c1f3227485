/** What repositories hold, and what is left of their quotas. */
import * as z from 'zod/mini';
import { leftOf, type QuotaUse } from '../lifecycle/quota.ts';
import type { RepositoryUsage } from '../objects/repository.ts';
import { catalogOf, repositoryOf } from '../stubs.ts';
import { stateOf, unknownRepository } from './deletions.ts';
import { type Operation, operation } from './operation.ts';
import { nextPage, pageOfList } from './pages.ts';
import { paged, pageOf } from './schemas.ts';

/** Repositories that one request asks. A request on the Free plan makes at most 50 calls. */
const ASKED_MAX = 40;

const used = {
  bytes: z
    .number()
    .check(
      z.describe('The blobs that manifests name, each once. Another repository may have some of them too.'),
    ),
  trashedBytes: z
    .number()
    .check(
      z.describe(
        'Blobs that only deleted manifests name. They are freed when the deletions cannot be undone.',
      ),
    ),
  tags: z.number(),
  manifests: z.number(),
  isCounted: z
    .boolean()
    .check(
      z.describe('False while manifests of an earlier release are still to be counted: then there is more.'),
    ),
};

const quota = z.object({
  policy: z.string().check(z.describe('The id of the lifecycle policy.')),
  what: z.enum(['bytes', 'tags']),
  limit: z.number(),
  used: z.number(),
  left: z.number(),
  hard: z.boolean().check(z.describe('A push over the limit is refused.')),
});

export const USAGE: Operation[] = [
  operation({
    id: 'usage.list',
    method: 'GET',
    path: '/usage',
    requires: 'admin',
    summary: 'List repositories with what they hold',
    description: `A page has up to ${ASKED_MAX} repositories.`,
    query: z.object(paged),
    status: 200,
    answer: z.object({ repositories: z.array(z.object({ repository: z.string(), ...used })) }),
    run: async ({ query, request, services: { env } }) => {
      const { count, last } = pageOf(query);
      const listing = await catalogOf(env).list(Math.min(count, ASKED_MAX), last);
      const found = await Promise.all(
        listing.entries.map(async (repository) => ({
          repository,
          known: await repositoryOf(env, repository).usage(),
        })),
      );
      const repositories = found.flatMap(({ repository, known }) =>
        known === null ? [] : [{ repository, ...known.usage }],
      );
      return pageOfList(
        request,
        { repositories },
        nextPage(listing, (repository) => repository),
      );
    },
  }),
  operation({
    id: 'repository.usage',
    method: 'GET',
    path: '/repositories/{name}/usage',
    requires: { repository: 'pull' },
    summary: 'Show what a repository holds, and what is left of its quotas',
    status: 200,
    answer: z.object({ ...used, quotas: z.array(quota) }),
    run: async ({ named, services }) => {
      const known = await (await stateOf(services, named)).usage();
      if (known === null) throw unknownRepository(named);
      return { body: described(known) };
    },
  }),
];

function described({ usage, quotas }: { usage: RepositoryUsage; quotas: QuotaUse[] }) {
  return { ...usage, quotas: quotas.map((use) => ({ ...use, left: leftOf(use) })) };
}
