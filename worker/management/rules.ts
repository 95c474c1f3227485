/**
 * Rules: a role on the repositories that match a pattern, for a subject. A rule for `anonymous` makes repositories
 * public.
 */
import * as z from 'zod/mini';
import type { Subject } from '../access/model.ts';
import { OciError } from '../oci/errors.ts';
import { type Operation, operation } from './operation.ts';
import { nextPage, pageOfList } from './pages.ts';
import { GROUP, grant, NAME, paged, pageOf } from './schemas.ts';

export const subject = z
  .string()
  .check(
    z.refine(isSubject, 'is user:NAME, token:NAME, group:NAME, authenticated or anonymous'),
    z.meta({ examples: ['group:developers'] }),
  ) as z.ZodMiniType<Subject, string>;

export const rule = z.object({ id: z.string(), subject: z.string(), ...grant.shape });

const creation = z.strictObject({ subject, ...grant.shape }).check(
  z.refine((body) => body.subject !== 'anonymous' || body.role === 'reader', {
    error:
      'of anonymous is reader: what is public may be pulled by everybody, and pushed only by those who log in',
    path: ['role'],
  }),
);

export const RULES: Operation[] = [
  operation({
    id: 'rule.list',
    method: 'GET',
    path: '/rules',
    requires: 'admin',
    summary: 'List rules, by age',
    query: z.object(paged),
    status: 200,
    answer: z.object({ rules: z.array(rule) }),
    run: async ({ accounts, query, request }) => {
      const listing = await accounts.listRules(pageOf(query));
      return pageOfList(
        request,
        { rules: listing.entries },
        nextPage(listing, ({ id }) => id),
      );
    },
  }),
  operation({
    id: 'rule.create',
    method: 'POST',
    path: '/rules',
    requires: 'admin',
    summary: 'Add a rule, which gives a role on repositories to a subject',
    description: 'A rule for `anonymous` makes repositories public: its role is `reader`.',
    body: creation,
    example: { subject: 'group:developers', role: 'writer', repositories: 'team-a/*' },
    status: 201,
    answer: rule,
    run: async ({ body, accounts }) => {
      const made = await accounts.createRule(body);
      const where = body.tags === null ? body.repositories : `${body.repositories}:${body.tags}`;
      return { body: made, changed: `${made.id}: ${body.role} of ${where} for ${body.subject}` };
    },
  }),
  operation({
    id: 'rule.delete',
    method: 'DELETE',
    path: '/rules/{id}',
    requires: 'admin',
    summary: 'Delete a rule',
    status: 204,
    errors: { 404: 'There is no rule of this id.' },
    run: async ({ named, accounts }) => {
      if (await accounts.deleteRule(named)) return {};
      throw new OciError('NOT_FOUND', { message: 'there is no rule of this id' });
    },
  }),
];

function isSubject(text: string): boolean {
  const [, named] = /^(?:user|token|group):(.+)$/s.exec(text) ?? [];
  if (named === undefined) return text === 'authenticated' || text === 'anonymous';
  return text.startsWith('group:') ? GROUP.test(named) : NAME.test(named);
}
