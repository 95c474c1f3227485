/** The audit log: what the management API writes into it, and how it is read. */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { onHome } from '../support/homes.ts';
import { ADMIN, Api, GUARDED, type Json } from './api.ts';

const BOB = 'bob:the password of bob';

onHome(
  'disk',
  (home) => {
    const api = new Api(home);
    const read = async (query = ''): Promise<Json[]> =>
      (await api.made('GET', `/audit?n=1000${query}`)).events as Json[];
    const secrets: string[] = ['the password of'];
    /** Newest first. */
    let events: Json[] = [];

    before(async () => {
      await api.made('POST', '/users', { name: 'bob', password: 'the password of bob' });
      await api.made('PATCH', '/users/bob', { groups: ['dev'], disabled: false });
      await api.made(
        'PUT',
        '/me/password',
        { current: 'the password of bob', new: 'the password of bob' },
        BOB,
      );
      const grants = [{ role: 'reader', repositories: '**' }];
      const token = await api.made('POST', '/tokens', { name: 'ci', grants });
      const mine = await api.made('POST', '/me/tokens', { name: 'mine' }, BOB);
      secrets.push(String(token.token).slice(-43), String(mine.token).slice(-43));
      await api.made('POST', '/pull-secrets', { name: 'k8s', repositories: ['a'] });
      const rule = await api.made('POST', '/rules', {
        subject: 'user:bob',
        role: 'reader',
        repositories: 'a',
        tags: null,
      });
      const policy = await api.made('POST', '/policies', { kind: 'create', repositories: '**' });
      const trust = await api.made('POST', '/trusts', {
        name: 't',
        issuer: 'https://issuer.example',
        audience: 'a',
        conditions: { sub: 'x' },
        grants,
      });
      assert.equal((await api.call('GET', '/users', undefined, BOB)).status, 403);
      assert.equal((await api.call('GET', '/users', undefined, 'mallory:the password of')).status, 401);
      assert.equal((await api.call('POST', '/users', { name: 'bob' })).status, 409);
      for (const path of [
        `/trusts/${trust.id}`,
        `/policies/${policy.id}`,
        `/rules/${rule.id}`,
        `/tokens/${token.id}`,
      ])
        await api.made('DELETE', path);
      await api.made('DELETE', `/me/tokens/${mine.id}`, undefined, BOB);
      await api.made('DELETE', '/users/bob');
      // Events are written after their answers, in their order.
      do {
        await sleep(10);
        events = await read();
      } while (events[0]?.action !== 'user.delete');
    });

    describe('the audit log', () => {
      it('the audit log has every change, and what was refused', () => {
        const told = events.map(
          ({ actor, action, decision }) =>
            `${String(actor).replace(/^unknown:[0-9a-f]{8}$/, 'unknown')} ${action} ${decision}`,
        );
        assert.deepEqual(told.reverse(), [
          'user:admin user.create allowed',
          'user:admin user.update allowed',
          'user:bob me.password allowed',
          'user:admin token.create allowed',
          'user:bob me.token.create allowed',
          'user:admin pull-secret.create allowed',
          'user:admin rule.create allowed',
          'user:admin policy.create allowed',
          'user:admin trust.create allowed',
          'user:bob user.list denied',
          'unknown login failed',
          'user:admin trust.delete allowed',
          'user:admin policy.delete allowed',
          'user:admin rule.delete allowed',
          'user:admin token.delete allowed',
          'user:bob me.token.delete allowed',
          'user:admin user.delete allowed',
        ]);
      });

      it('the audit log says what was changed, from where, and when', () => {
        const made = events.find(({ action }) => action === 'rule.create');
        assert.equal(made?.reference, '1: reader of a for user:bob');
        assert.equal(made?.address, '127.0.0.1');
        assert.ok(Math.abs(Date.parse(String(made?.at)) - Date.now()) < 60_000);
        assert.equal(
          events.find(({ action }) => action === 'user.update')?.reference,
          'bob (groups, disabled)',
        );
      });

      it('the audit log holds no secret', () => {
        const text = JSON.stringify(events);
        for (const secret of secrets) assert.ok(!text.includes(secret), secret);
        assert.doesNotMatch(text, /scrypt|lsr_/);
      });

      it('the audit log is read by page, with what was asked for', async () => {
        const seen: unknown[] = [];
        for (let path = '/audit?n=3&actor=user:bob'; path !== ''; ) {
          const { json, headers } = await api.call('GET', path);
          const page = json.events as Json[];
          assert.ok(page.length <= 3);
          seen.push(...page.map(({ action }) => action));
          path = /^<\/api\/v1([^>]+)>; rel="next"$/.exec(headers.get('Link') ?? '')?.[1] ?? '';
          assert.equal(json.next === null, path === '');
        }
        assert.deepEqual(seen, ['me.token.delete', 'user.list', 'me.token.create', 'me.password']);
      });

      it('the audit log is read by decision', async () => {
        assert.deepEqual(
          (await read('&decision=failed')).map(({ actor }) => String(actor).replace(/:[0-9a-f]{8}$/, '')),
          ['unknown'],
        );
      });

      it('the audit log is read as JSON lines', async () => {
        const accept = { Accept: 'application/x-ndjson' };
        const { text, headers } = await api.call('GET', '/audit?n=4', undefined, ADMIN, accept);
        assert.equal(headers.get('Content-Type'), 'application/x-ndjson');
        assert.match(headers.get('Link') ?? '', /rel="next"/);
        const lines = text
          .trimEnd()
          .split('\n')
          .map((line) => JSON.parse(line) as Json);
        assert.deepEqual(lines, events.slice(0, 4));
      });

      api.table([
        { name: 'refuses ids', request: ['GET', '/audit?before=x'], want: 400, says: /before: is the id/ },
        {
          name: 'refuses decisions',
          request: ['GET', '/audit?decision=maybe'],
          want: 400,
          says: /decision: /,
        },
      ]);
    });
  },
  GUARDED,
);
