/** The audit log, newest events first: by page, or as JSON lines for log collectors. */
import * as z from 'zod/mini';
import type { AuditEvent } from '../access/model.ts';
import { escapedJson } from '../oci/printable.ts';
import { type Operation, operation } from './operation.ts';
import { pageOfList } from './pages.ts';
import { paged, time, timeOf } from './schemas.ts';

const decision = z.enum(['allowed', 'denied', 'failed']);

const event = z.object({
  id: z.number(),
  at: time,
  actor: z.string(),
  action: z.string(),
  repository: z.nullable(z.string()),
  reference: z.nullable(z.string()),
  address: z.string(),
  userAgent: z.string(),
  decision,
  rule: z.string().check(z.describe('The rule that decided, in words.')),
  requestId: z.string(),
  count: z
    .number()
    .check(
      z.describe(
        'The number of events that this one counts: pulls and refusals of the same kind are counted together.',
      ),
    ),
  examples: z
    .array(z.string())
    .check(z.describe('For refusals that were counted together: examples of the others.')),
});

const filter = z.optional(z.string().check(z.maxLength(500)));

export const AUDIT: Operation[] = [
  operation({
    id: 'audit.list',
    method: 'GET',
    path: '/audit',
    requires: 'admin',
    summary: 'List events of the audit log, newest first',
    query: z.object({
      n: paged.n,
      before: z.optional(
        z
          .string()
          .check(
            z.regex(/^\d{1,15}$/, 'is the id of an event'),
            z.describe('The id of an event: only older events are listed.'),
          ),
      ),
      actor: filter,
      repository: filter,
      decision: z.optional(decision),
    }),
    status: 200,
    answer: z.object({
      events: z.array(event),
      next: z
        .nullable(z.number())
        .check(
          z.describe(
            '`before` of the next page; null on the last page. A filtered page may have few events and still not be the last.',
          ),
        ),
    }),
    types: ['application/x-ndjson'],
    run: async ({ auditLog, query, request, services }) => {
      await services.audit.flush();
      const { n, before, actor, repository, decision: decided } = query;
      const filters = { actor, repository, decision: decided };
      const { entries, next } = await auditLog.list({
        before: before === undefined ? null : Number(before),
        count: n,
        ...filters,
      });
      const events = entries.map(eventResponse);
      const answer = pageOfList(request, { events, next }, next === null ? null : { before: String(next) });
      if (!/\bapplication\/x-ndjson\b/.test(request.headers.get('Accept') ?? '')) return answer;
      const lines = events.map((entry) => `${escapedJson(entry)}\n`).join('');
      return { ...answer, body: lines, type: 'application/x-ndjson' };
    },
  }),
];

function eventResponse(entry: AuditEvent & { id: number }): z.output<typeof event> {
  const { id, ...event } = entry;
  return { id, ...event, at: timeOf(entry.at) };
}
