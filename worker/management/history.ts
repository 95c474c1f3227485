/** The history of the tags of a repository. */
import * as z from 'zod/mini';
import { OciError } from '../oci/errors.ts';
import type { MovePlace } from '../oci/upkeep.ts';
import { stateOf, unknownRepository } from './deletions.ts';
import { type Operation, operation } from './operation.ts';
import { nextPage, pageOfList } from './pages.ts';
import { paged, pageOf, time, timeOf } from './schemas.ts';

const move = z.object({
  tag: z.string(),
  digest: z.nullable(z.string()).check(z.describe('null: the tag was deleted.')),
  from: z.nullable(z.string()).check(z.describe('What the tag led to before.')),
  at: time,
  actor: z.string().check(z.describe('Empty where access control is off, and for moves of older releases.')),
  address: z.string(),
  why: z.enum(['push', 'delete', 'retention', 'restore', 'promote']),
  source: z.nullable(z.string()).check(z.describe('Of a promotion: the image that it was.')),
  deletion: z.nullable(z.string()).check(z.describe('The deletion that this was part of.')),
});

const moment = z.iso.datetime({ offset: true });
const PLACE = /^(\d{1,16})\.(\d{1,16})\.(.{1,128})$/;

export const HISTORY: Operation[] = [
  operation({
    id: 'history.list',
    method: 'GET',
    path: '/repositories/{name}/history',
    requires: { repository: 'pull' },
    summary: 'List moves and deletions of tags, the latest first',
    description: 'Moves are kept for UNDO_DAYS.',
    query: z.object({ ...paged, tag: z.optional(z.string()) }),
    status: 200,
    answer: z.object({ moves: z.array(move) }),
    run: async ({ named, query, request, services }) => {
      const { count, last } = pageOf(query);
      const state = await stateOf(services, named);
      const listing = await state.history(query.tag ?? null, placeOf(last), count);
      if (listing === null) throw unknownRepository(named);
      const moves = listing.entries.map(({ seq: _, ...entry }) => ({ ...entry, at: timeOf(entry.at) }));
      return pageOfList(
        request,
        { moves },
        nextPage(listing, ({ at, seq, tag }) => `${at}.${seq}.${tag}`),
      );
    },
  }),
  operation({
    id: 'diff.list',
    method: 'GET',
    path: '/repositories/{name}/diff',
    requires: { repository: 'pull' },
    summary: 'List tags that led to something else at one time than at another',
    query: z.object({
      ...paged,
      from: moment,
      to: z.optional(moment.check(z.describe('Without it, now.'))),
    }),
    status: 200,
    answer: z.object({
      tags: z.array(
        z.object({
          tag: z.string(),
          from: z.nullable(z.string()).check(z.describe('null: there was no such tag.')),
          to: z.nullable(z.string()),
        }),
      ),
    }),
    errors: { 404: 'There is no such repository for the caller, or a time is before all that is kept.' },
    run: async ({ named, query, request, services }) => {
      const { count, last } = pageOf(query);
      const from = Date.parse(query.from);
      const to = query.to === undefined ? Date.now() : Date.parse(query.to);
      const listing = await (await stateOf(services, named)).diff(from, to, count, last);
      if (listing === null) throw unknownRepository(named);
      if (listing === 'past') {
        throw new OciError('NOT_FOUND', {
          message: 'the history of tags is kept for UNDO_DAYS: choose a later time',
        });
      }
      return pageOfList(
        request,
        { tags: listing.entries },
        nextPage(listing, ({ tag }) => tag),
      );
    },
  }),
];

/** The move that a page ends before. */
function placeOf(last: string | null): MovePlace | null {
  const [, at, seq, tag] = PLACE.exec(last ?? '') ?? [];
  return at === undefined || tag === undefined ? null : { at: Number(at), seq: Number(seq), tag };
}
