/** AuditLog: what it takes, how it is listed, and how long it keeps it. */

import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import {
  AUDIT_REFUSAL_ROWS_A_MINUTE,
  AUDIT_ROW_EVENTS_MAX,
  AUDIT_ROW_MAX_LENGTH,
  AUDIT_SCAN_ROWS_MAX,
  AUDIT_SWEEP_MS,
} from '../../durable-objects/audit-limits.ts';
import { EXPIRED_ROWS_AT_A_TIME } from '../../durable-objects/rows.ts';
import type { AuditEvent } from '../../worker/access/model.ts';
import { AUDIT_TEXT_MAX_LENGTH } from '../../worker/access/model.ts';
import type { AuditPage, AuditQuery } from '../../worker/objects/audit-log.ts';
import { AUDIT_MAX, parseSettingOr } from '../../worker/settings.ts';
import { eachHome, onHome } from '../support/homes.ts';
import { AHEAD, event, Log } from './calls.ts';

const DAY_MS = 24 * 3600 * 1000;

const EVENTS: AuditEvent[] = [
  event({ reference: '1' }),
  event({ reference: '2', actor: 'user:eve' }),
  event({ reference: '3', decision: 'denied' }),
  event({ reference: '4', repository: null, decision: 'failed', action: 'login' }),
  event({ reference: '5', actor: 'user:eve', repository: 'acme/web', decision: 'denied' }),
  event({ reference: '6', repository: 'acme/web' }),
];

const LISTS: { name: string; query: Partial<AuditQuery>; want: string }[] = [
  { name: 'everything', query: {}, want: '654321' },
  { name: 'a page', query: { count: 2 }, want: '65+' },
  { name: 'an actor', query: { actor: 'user:eve' }, want: '52' },
  { name: 'a repository', query: { repository: 'acme/api' }, want: '321' },
  { name: 'what was denied', query: { decision: 'denied' }, want: '53' },
  { name: 'what was allowed', query: { decision: 'allowed' }, want: '621' },
  { name: 'all of it', query: { actor: 'user:eve', repository: 'acme/web', decision: 'denied' }, want: '5' },
  { name: 'an actor without events', query: { actor: "' OR 1 = 1 --" }, want: '' },
];

/** Rows of batches, or of the table of release 0.1.0, each with one event whose reference is its number. */
const FILL = {
  batches: (many: number, at: number) =>
    `WITH RECURSIVE made (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM made WHERE n < ${many})
     INSERT INTO batches (id, at, events)
     SELECT 1000000 + n, ${at}, json_array(json_set('${JSON.stringify(event({ at }))}', '$.reference', CAST(n AS TEXT)))
     FROM made RETURNING 1`,
  events: (many: number, at: number) =>
    `WITH RECURSIVE made (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM made WHERE n < ${many})
     INSERT INTO events (at, actor, action, repository, reference, address, userAgent, decision, rule, requestId)
     SELECT ${at}, 'user:bob', 'pull', 'acme/api', CAST(n AS TEXT), '', '', 'allowed', '', '' FROM made RETURNING 1`,
};

const DEFAULT_DAYS = 90;
const SETTINGS = [
  { setting: undefined, days: DEFAULT_DAYS },
  { setting: '', days: DEFAULT_DAYS },
  { setting: '1', days: 1 },
  { setting: '3650', days: 3650 },
  { setting: 30, days: 30 },
  { setting: '0', days: AUDIT_MAX.days, isWrong: true },
  { setting: '3651', days: AUDIT_MAX.days, isWrong: true },
  { setting: '-1', days: AUDIT_MAX.days, isWrong: true },
  { setting: '7d', days: AUDIT_MAX.days, isWrong: true },
  { setting: '1e3', days: AUDIT_MAX.days, isWrong: true },
];

eachHome((home) => {
  const log = new Log(home);
  const now = AHEAD;
  beforeEach(async () => {
    await home.stopClock(now);
    await log.rows('DELETE FROM events');
    await log.rows('DELETE FROM batches');
    await home.evict('AUDIT', 'audit');
  });

  describe('a list', () => {
    for (const { name, query, want } of LISTS) {
      it(`a list of ${name} is newest first, within a message and across messages`, async () => {
        await log.record(EVENTS.slice(0, 4));
        await log.record(EVENTS.slice(4));
        await home.evict('AUDIT', 'audit');
        const { entries, next } = await log.list(query);
        assert.equal(entries.map(({ reference }) => reference).join('') + (next === null ? '' : '+'), want);
      });
    }

    it('a list of audit events goes on before the last id, whatever has come since', async () => {
      await log.record(EVENTS);
      const seen: (string | null)[] = [];
      for (let before: number | null = null, isEnd = false; !isEnd; ) {
        const page: AuditPage = await log.list({ before, count: 2 });
        seen.push(...page.entries.map(({ reference }) => reference));
        await log.record([event({ reference: 'new' })]);
        before = page.next;
        isEnd = page.next === null;
      }
      assert.deepEqual(seen, ['6', '5', '4', '3', '2', '1']);
    });

    it('a list of audit events gives back what was recorded', async () => {
      const recorded = event({ count: 7, examples: ['push acme/web no rule'], decision: 'denied' });
      await log.record([recorded]);
      const [{ id, ...listed } = { id: 0 }] = (await log.list({})).entries;
      assert.ok(id > 0);
      assert.deepEqual(listed, recorded);
    });

    for (const table of ['batches', 'events'] as const) {
      it(`a list of an actor without events reads a bounded number of rows for a page, of ${table}`, async () => {
        await log.rows(FILL[table](2500, now));
        let pages = 0;
        for (let before: number | null = null, isEnd = false; !isEnd; pages++) {
          await home.reset();
          const page: AuditPage = await log.list({ before, actor: 'user:eve' });
          const { rowsRead } = await home.counts();
          assert.ok(rowsRead <= AUDIT_SCAN_ROWS_MAX + 10, `${rowsRead} rows`);
          assert.deepEqual(page.entries, []);
          before = page.next;
          isEnd = page.next === null;
        }
        assert.equal(pages, 3);
      });
    }

    it('a list of audit events has the events of release 0.1.0 after those of batches', async () => {
      await log.rows(FILL.events(2, now));
      await log.record([event({ reference: 'new' }), event({ reference: 'newer' })]);
      const seen: string[] = [];
      for (let before: number | null = null, isEnd = false; !isEnd; ) {
        const page: AuditPage = await log.list({ before, count: 1 });
        seen.push(...page.entries.map(({ reference, count }) => `${reference} ${count}`));
        before = page.next;
        isEnd = page.next === null;
      }
      assert.deepEqual(seen, ['newer 1', 'new 1', '2 1', '1 1']);
    });
  });

  it('a message writes one row, however many events it has', async () => {
    await log.record([event()]);
    await home.reset();
    await log.record(Array.from({ length: 400 }, (_, n) => event({ reference: String(n) })));
    const { rowsWritten, statements } = await home.counts();
    assert.equal(rowsWritten, 1, JSON.stringify(statements));
    assert.equal((await log.list({ count: 1000 })).entries.length, 401);
  });

  it('a message of more than fits into a row is several rows', async () => {
    const long = 'x'.repeat(AUDIT_TEXT_MAX_LENGTH);
    await log.record(Array.from({ length: 600 }, (_, n) => event({ reference: String(n), rule: long })));
    const [{ rows, longest } = { rows: 0, longest: 0 }] = await log.rows(
      'SELECT COUNT(*) AS rows, MAX(length(events)) AS longest FROM batches',
    );
    assert.ok(
      Number(rows) > 1 && Number(longest) <= AUDIT_ROW_MAX_LENGTH + AUDIT_ROW_EVENTS_MAX,
      `${longest}`,
    );
    const { entries } = await log.list({ count: 1000 });
    assert.deepEqual(
      entries.map(({ reference }) => Number(reference)),
      Array.from({ length: 600 }, (_, n) => 599 - n),
    );
  });

  it('messages of nothing but refusals are limited by the minute, and what was left out is told', async () => {
    const refusal = event({ decision: 'failed', count: 10 });
    for (let n = 0; n < AUDIT_REFUSAL_ROWS_A_MINUTE + 5; n++) await log.record([refusal]);
    assert.deepEqual(await log.rows('SELECT COUNT(*) AS rows FROM batches'), [
      { rows: AUDIT_REFUSAL_ROWS_A_MINUTE },
    ]);
    await log.record([event({ action: 'push' })]);
    const [told, push] = (await log.list({ count: 2 })).entries;
    assert.deepEqual([push?.action, told?.action, told?.count], ['push', 'audit.drop', 50]);
    assert.match(`${told?.reference} ${told?.rule}`, /^50 refusals were not written more than 60 rows/);
    await home.stopClock(now + 60_000);
    await log.record([refusal]);
    assert.equal((await log.list({ count: 1 })).entries[0]?.decision, 'failed');
  });

  it('the audit log takes all events of a message or none', async () => {
    const broken = { ...event(), actor: null };
    await assert.rejects(log.record([event(), broken as unknown as AuditEvent]), /^Error: \/test\/call: 500/);
    assert.deepEqual(await log.list({}), { entries: [], next: null });
  });

  it('the audit log cuts a text at the length of its field', async () => {
    const long = 'ü'.repeat(3_000_000);
    await log.record([event({ actor: long, reference: long, rule: long, userAgent: long })]);
    const [{ actor, reference, rule, userAgent } = event()] = (await log.list({})).entries;
    assert.deepEqual(
      [actor, reference, rule, userAgent].map((text) => text?.length),
      [1, 2, 3, 4].map(() => AUDIT_TEXT_MAX_LENGTH),
    );
  });

  describe('retention', () => {
    it('the retention of the audit log removes what is old enough, and keeps what is not', async () => {
      await log.record([event({ at: now, reference: 'old' })]);
      await home.stopClock(now + DAY_MS);
      await log.record([event({ at: now + DAY_MS, reference: 'new' })]);
      await home.stopClock(now + DEFAULT_DAYS * DAY_MS - 1);
      assert.equal(await log.ringAll(), 0);
      await home.stopClock(now + DEFAULT_DAYS * DAY_MS);
      assert.equal(await log.ringAll(), 1);
      assert.deepEqual(
        (await log.list({})).entries.map(({ reference }) => reference),
        ['new'],
      );
      assert.equal(await home.alarmAt('AUDIT', 'audit'), now + (DEFAULT_DAYS + 1) * DAY_MS);
      await home.stopClock(now + (DEFAULT_DAYS + 1) * DAY_MS);
      assert.equal(await log.ringAll(), 1);
      assert.deepEqual(
        [await log.list({}), await home.alarmAt('AUDIT', 'audit')],
        [{ entries: [], next: null }, null],
      );
    });

    for (const table of ['batches', 'events'] as const) {
      it(`the retention of the audit log removes many ${table} in steps, one right after the other`, async () => {
        await log.record([event({ at: now })]);
        await log.rows('DELETE FROM batches');
        const many = 2 * EXPIRED_ROWS_AT_A_TIME + 5;
        await log.rows(FILL[table](many, now));
        await home.stopClock(now + DEFAULT_DAYS * DAY_MS);
        assert.equal(await log.ringAll(), 3);
        assert.deepEqual(await log.list({}), { entries: [], next: null });
      });
    }

    it('the retention of the audit log wakes no more than once an hour for events that end one after another', async () => {
      await log.record([event({ at: now })]);
      await home.stopClock(now + 1000);
      await log.record([event({ at: now + 1000 })]);
      await home.stopClock(now + DEFAULT_DAYS * DAY_MS);
      assert.equal(await log.ringAll(), 1);
      assert.equal(await home.alarmAt('AUDIT', 'audit'), now + DEFAULT_DAYS * DAY_MS + AUDIT_SWEEP_MS);
    });

    it('the retention of the audit log is not put off by a clock that runs ahead', async () => {
      await log.record([event({ at: now + 1000 * DAY_MS })]);
      await home.stopClock(now + DEFAULT_DAYS * DAY_MS);
      assert.equal(await log.ringAll(), 1);
      assert.deepEqual((await log.list({})).entries, []);
    });
  });
});

onHome(
  'disk',
  (home) => {
    it('AUDIT_DAYS says how long events are kept', async () => {
      const log = new Log(home);
      const now = AHEAD;
      await home.stopClock(now);
      await log.record([event({ at: now })]);
      assert.equal(await home.alarmAt('AUDIT', 'audit'), now + 7 * DAY_MS);
      await home.stopClock(now + 7 * DAY_MS);
      assert.equal(await log.ringAll(), 1);
      assert.deepEqual((await log.list({})).entries, []);
    });
  },
  { vars: { AUDIT_DAYS: '7' } },
);

onHome(
  'r2',
  (home) => {
    it('an AUDIT_DAYS that is wrong deletes nothing that a right one may keep', async () => {
      const log = new Log(home);
      await home.stopClock(AHEAD);
      await log.record([event({ at: AHEAD })]);
      await home.stopClock(AHEAD + (AUDIT_MAX.days - 1) * DAY_MS);
      await log.ringAll();
      assert.equal((await log.list({})).entries.length, 1);
    });
  },
  { vars: { AUDIT_DAYS: '4000' } },
);

onHome(
  'disk',
  (home) => {
    it('at AUDIT_ROWS_MAX rows the oldest are deleted, and an event says so', async () => {
      const log = new Log(home);
      await home.stopClock(AHEAD);
      await log.rows(FILL.batches(999, AHEAD));
      await log.record([event({ reference: '1000' })]);
      assert.deepEqual(await log.rows('SELECT COUNT(*) AS rows FROM batches'), [{ rows: 1000 }]);
      await log.record([event({ reference: '1001' })]);
      assert.deepEqual(await log.rows('SELECT COUNT(*) AS rows FROM batches'), [{ rows: 901 }]);
      const [told, newest] = (await log.list({ count: 2 })).entries;
      assert.equal(newest?.reference, '1001');
      assert.deepEqual([told?.actor, told?.action, told?.count], ['registry', 'audit.drop', 100]);
      assert.match(
        `${told?.reference} ${told?.rule}`,
        /^100 rows until .* were deleted AUDIT_ROWS_MAX is 1000$/,
      );
    });
  },
  { vars: { AUDIT_ROWS_MAX: '1000' } },
);

describe('the setting AUDIT_DAYS', () => {
  for (const { setting, days, isWrong = false } of SETTINGS) {
    it(`the setting AUDIT_DAYS: ${setting ?? 'not set'} is ${days} days${isWrong ? ', and is complained about by name' : ''}`, (t) => {
      const complained = t.mock.method(console, 'error', () => undefined);
      assert.equal(parseSettingOr('AUDIT_DAYS', setting, AUDIT_MAX.days), days);
      const texts = complained.mock.calls.map((call) => String(call.arguments[0]));
      assert.equal(texts.length, isWrong ? 1 : 0);
      assert.ok(texts.every((text) => text.startsWith('AUDIT_DAYS ')));
    });
  }
});
