/** The rate limiting binding: a client that asks too often gets 429 and `Retry-After`, and other clients are not limited. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { REQUESTERS_MAX, RequestCounter, requestLimit } from '../../worker/auth/request-limit.ts';
import { parseSettings } from '../../worker/settings.ts';
import { Home } from '../support/homes.ts';
import { type Answer, Visitor } from '../support/visitor.ts';

const ADMIN_PASSWORD = 'the password of the admin';
const LIMIT = 20;

describe('a count on one machine', () => {
  it('the count of requests on one machine counts each key separately, and begins again with the next minute', async (t) => {
    t.mock.timers.enable({ apis: ['Date'], now: 60_000 });
    const counter = new RequestCounter(2);
    const ask = async (key: string) => (await counter.limit({ key })).success;
    assert.deepEqual(
      [await ask('a'), await ask('a'), await ask('a'), await ask('b')],
      [true, true, false, true],
    );
    t.mock.timers.setTime(119_999);
    assert.equal(await ask('a'), false);
    t.mock.timers.setTime(120_000);
    assert.equal(await ask('a'), true);
  });

  it('the count of requests on one machine knows a bounded number of keys', async () => {
    const counter = new RequestCounter(1);
    for (let at = 0; at <= REQUESTERS_MAX; at++) await counter.limit({ key: String(at) });
    assert.equal((await counter.limit({ key: '0' })).success, true);
    assert.equal((await counter.limit({ key: String(REQUESTERS_MAX) })).success, false);
  });

  for (const { setting, isLimited } of [
    { setting: undefined, isLimited: true },
    { setting: '100', isLimited: true },
    { setting: '0', isLimited: false },
  ]) {
    it(`requests on one machine are ${isLimited ? '' : 'not '}counted with REQUEST_LIMIT=${setting}`, () => {
      const { requestsPerMinute } = parseSettings({ PLATFORM: 'one machine', REQUEST_LIMIT: setting });
      assert.equal(requestLimit(undefined, requestsPerMinute) !== undefined, isLimited);
    });
  }

  it('REQUEST_LIMIT=many is refused', () => {
    assert.throws(() => parseSettings({ PLATFORM: 'one machine', REQUEST_LIMIT: 'many' }), {
      message: /REQUEST_LIMIT is a number of requests a minute/,
    });
  });
});

for (const home of [
  new Home('r2', { vars: { AUTH: 'on', ADMIN_PASSWORD }, requestLimit: LIMIT }),
  new Home('disk', { vars: { AUTH: 'on', ADMIN_PASSWORD, REQUEST_LIMIT: String(LIMIT) } }),
])
  describe(`requests on ${home.name}`, () => {
    before(() => home.start());
    after(() => home.stop());

    it(`requests on ${home.name} are limited for each that asks, and what is refused is in the audit log`, async () => {
      const admin = new Visitor(home, `admin:${ADMIN_PASSWORD}`);
      const anonymous = new Visitor(home, null);
      const authorization = await admin.bearer('repository:a/b:pull');
      const ask = () => admin.send('GET', '/v2/a/b/tags/list', { authorization });
      const answers: Answer[] = [];
      for (let at = 0; at < 2 * LIMIT + 1; at++) answers.push(await ask());
      // The binding counts by the minute, of which one may end among these.
      assert.ok(answers.some(({ status }) => status === 404));
      assert.ok(answers.every(({ status }) => status === 404 || status === 429));
      const refused = answers.find(({ status }) => status === 429);
      assert.equal(refused?.code, 'TOOMANYREQUESTS');
      assert.equal(refused?.headers.get('Retry-After'), '60');

      await home.settled();
      const { events } = JSON.parse((await admin.send('GET', '/api/v1/audit?decision=denied')).text) as {
        events: { actor: string; rule: string; count: number }[];
      };
      const told = events.filter(({ rule }) => rule.startsWith('too many requests'));
      assert.equal(told[0]?.actor, 'user:admin');
      assert.equal(
        told.reduce((sum, { count }) => sum + count, 0),
        answers.filter(({ status }) => status === 429).length,
        'refusals are counted together',
      );

      const other = await anonymous.bearer('repository:a/b:pull');
      assert.equal((await anonymous.send('GET', '/v2/', { authorization: other })).status, 200);
    });
  });
