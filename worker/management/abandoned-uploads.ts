/** Uploads that began and brought no bytes: what is left of a layer that Cloudflare refused. */
import * as z from 'zod/mini';
import { catalogOf } from '../stubs.ts';
import { type Operation, operation } from './operation.ts';
import { nextPage, pageOfList } from './pages.ts';
import { paged, pageOf, time, timeOf } from './schemas.ts';

const entry = z.object({
  repository: z.string(),
  count: z.number().check(z.describe('The uploads of the last 7 days whose blobs did not arrive later.')),
  lastAt: time,
  userAgent: z.string().check(z.describe('The client of the last one.')),
});

export const ABANDONED_UPLOADS: Operation[] = [
  operation({
    id: 'abandonedUpload.list',
    method: 'GET',
    path: '/abandoned-uploads',
    requires: 'admin',
    summary: 'List repositories with abandoned uploads, by name',
    description:
      'An abandoned upload began after its client had asked for the digest, and brought no bytes. On Cloudflare, this is the trace of a layer over the limit of request bodies: docs/large-layers.md.',
    query: z.object(paged),
    status: 200,
    answer: z.object({ repositories: z.array(entry) }),
    run: async ({ services, query, request }) => {
      const { count, last } = pageOf(query);
      const listing = await catalogOf(services.env).listAbandoned(count, last);
      const repositories = listing.entries.map((one) => ({ ...one, lastAt: timeOf(one.lastAt) }));
      return pageOfList(
        request,
        { repositories },
        nextPage(listing, ({ repository }) => repository),
      );
    },
  }),
];
