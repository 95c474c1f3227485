/** What strangers can make the audit log keep: how many rows, and which texts. */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import type { AuditEvent } from '../../worker/access/model.ts';
import type { ListedEvent } from '../../worker/objects/audit-log.ts';
import { Log } from '../durable-objects/calls.ts';
import { eachHome } from '../support/homes.ts';
import { Visitor } from '../support/visitor.ts';
import { ADMIN, Api, GUARDED, type Json } from './api.ts';

const MANY = 200;

eachHome((home) => {
  const api = new Api(home);
  // Not by the API, because an address that failed to log in waits.
  const events = async (decision: AuditEvent['decision']): Promise<ListedEvent[]> =>
    (await new Log(home).list({ count: 1000, decision })).entries;
  const anonymous = new Visitor(home, null);
  const rowsWritten = async () => {
    const { statements } = await home.counts();
    return Object.entries(statements)
      .filter(([statement]) => statement.startsWith('AuditLog: '))
      .reduce((sum, [, { written }]) => sum + written, 0);
  };

  before(() => api.made('POST', '/users', { name: 'bob', password: 'the password of bob' }));

  describe('the audit log', () => {
    it('the audit log is answered without characters that move a cursor or turn a line around', async () => {
      const userAgent = 'docker\u009b31m\u202ereverse';
      // Headers are bytes of UTF-8 to the registry, and of Latin-1 to this client.
      const headers = { 'User-Agent': Buffer.from(userAgent).toString('latin1') };
      await api.call('PATCH', '/users/bob', { groups: ['dev'] }, ADMIN, headers);
      await home.settled();
      for (const accept of ['application/json', 'application/x-ndjson']) {
        const { text } = await api.call('GET', '/audit?n=1', undefined, ADMIN, { Accept: accept });
        assert.doesNotMatch(text.replaceAll('\n', ''), /[\p{Cc}\p{Cf}]/u);
        const json = JSON.parse(text) as Json;
        const [event] = (json.events ?? [json]) as Json[];
        assert.equal(event?.userAgent, userAgent, 'a reader of JSON gets what was sent');
      }
    });

    it('the audit log writes one row for many refused requests of an anonymous client', async () => {
      const authorization = await anonymous.bearer('repository:a/b:pull');
      await home.settled();
      await home.reset();
      for (let n = 0; n < MANY; n++)
        await anonymous.send('GET', `/v2/stranger/of-${n}/manifests/latest`, { authorization });
      await home.settled();
      // A slow machine takes longer than the events wait, and then writes them in several rows.
      const rows = await rowsWritten();
      assert.ok(rows <= 10, `${rows} rows`);
      const refused = (await events('denied')).filter(({ actor }) => actor === 'anonymous');
      assert.equal(
        refused.reduce((sum, { count }) => sum + count, 0),
        MANY,
      );
      assert.match(String(refused[0]?.examples[0]), /^pull stranger\/of-\d+ /);
    });

    it('the audit log keeps nothing of the tokens that an anonymous client gets', async () => {
      await api.made('POST', '/rules', { subject: 'anonymous', role: 'reader', repositories: 'public/**' });
      await home.settled();
      await home.reset();
      for (let n = 0; n < 20; n++) await anonymous.token(`repository:public/of-${n}:pull`);
      await home.settled();
      assert.equal(await rowsWritten(), 0);
    });

    it('the audit log counts failed logins under made-up names as those of one actor', async () => {
      await home.reset();
      // Of the form of a token, so that no slow hash is computed.
      const secret = `lsr_${'0'.repeat(16)}_${'A'.repeat(43)}`;
      for (let n = 0; n < 50; n++) await new Visitor(home, `made-up-${n}:${secret}`).send('GET', '/token');
      await home.settled();
      const rows = await rowsWritten();
      assert.ok(rows <= 10, `${rows} rows`);
      const failed = await events('failed');
      assert.equal(
        failed.reduce((sum, { count }) => sum + count, 0),
        50,
      );
    });

    it('the audit log keeps a hash of a name that is no account, and the name of one that is', async () => {
      const typed = 'correct horse battery staple';
      for (const name of [typed, 'bob', typed]) {
        await new Visitor(home, `${name}:lsr_wrong for ${name}`).send('GET', '/v2/');
        await home.settled();
      }
      const page = await events('failed');
      assert.ok(!JSON.stringify(page).includes(typed), 'what may be a password is not there');
      const actors = page.map(({ actor }) => actor);
      assert.ok(actors.includes('user:bob'), actors.join());
      const [last = '', , first = ''] = actors;
      assert.match(last, /^unknown:[0-9a-f]{8}$/);
      assert.equal(first, last, 'the same name has the same hash');
      const kept = await home.rows('AUDIT', 'audit', 'SELECT events FROM batches');
      assert.ok(!JSON.stringify(kept).includes(typed));
    });

    it('the audit log has the id that Cloudflare gave a request, and one of its own on one machine', async () => {
      const headers = { 'cf-ray': 'ray-of-the-client' };
      await new Visitor(home, 'bob:lsr_wrong').send('GET', '/v2/', { headers });
      await home.settled();
      const [{ requestId } = {}] = await events('failed');
      if (home.name === 'r2') assert.equal(requestId, 'ray-of-the-client');
      else assert.match(String(requestId), /^[0-9a-f]{8}-[0-9a-f-]{27}$/);
    });
  });
}, GUARDED);
