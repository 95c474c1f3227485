/** The rate limiting binding: whoever asks too often gets 429 and when to come again, and others go on. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Home } from '../support/homes.ts';
import { type Answer, Visitor } from './visitor.ts';

const ADMIN_PASSWORD = 'the password of the admin';
const LIMIT = 20;

describe('requests', () => {
  const home = new Home('r2', { vars: { AUTH: 'on', ADMIN_PASSWORD }, requestLimit: LIMIT });
  before(() => home.start());
  after(() => home.stop());

  it('are limited for each that asks, and what is refused is in the audit log', async () => {
    const admin = new Visitor(home, `admin:${ADMIN_PASSWORD}`);
    const nobody = new Visitor(home, null);
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

    const other = await nobody.bearer('repository:a/b:pull');
    assert.equal((await nobody.send('GET', '/v2/', { authorization: other })).status, 200);
  });
});
