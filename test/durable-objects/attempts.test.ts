/** Failed logins: whom they make wait, for how long, what forgets them, and that they do not fill the storage. */
import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import {
  FAILED_LOGIN_FORGOTTEN_MS,
  FAILED_LOGIN_ROWS_MAX,
  FAILED_LOGINS_OF_ACCOUNT,
  FAILED_LOGINS_OF_PAIR,
  LOGIN_WAIT_MAX_MS,
  LOGIN_WAIT_MIN_MS,
} from '../../durable-objects/accounts/attempts.ts';
import { eachHome, onHome } from '../support/homes.ts';
import { Accounts, AHEAD } from './calls.ts';

/** `each` is the address of each failure in turn, `%` being its number. */
const WAITS = [
  { name: 'four of a pair', failures: 4, account: 'bob', each: '192.0.2.1', at: 'bob 192.0.2.1', want: 0 },
  { name: 'five of a pair', failures: 5, account: 'bob', each: '192.0.2.1', at: 'bob 192.0.2.1', want: 1 },
  { name: 'six of a pair', failures: 6, account: 'bob', each: '192.0.2.1', at: 'bob 192.0.2.1', want: 2 },
  { name: 'nine of a pair', failures: 9, account: 'bob', each: '192.0.2.1', at: 'bob 192.0.2.1', want: 16 },
  { name: '14 of a pair', failures: 14, account: 'bob', each: '192.0.2.1', at: 'bob 192.0.2.1', want: 512 },
  { name: '15 of a pair', failures: 15, account: 'bob', each: '192.0.2.1', at: 'bob 192.0.2.1', want: 900 },
  { name: '18 of a pair', failures: 18, account: 'bob', each: '192.0.2.1', at: 'bob 192.0.2.1', want: 900 },
  {
    name: 'a pair, of another account there',
    failures: 9,
    account: 'bob',
    each: '192.0.2.1',
    at: 'eve 192.0.2.1',
    want: 0,
  },
  {
    name: 'a pair, from elsewhere',
    failures: 9,
    account: 'bob',
    each: '192.0.2.1',
    at: 'bob 192.0.2.2',
    want: 0,
  },
  {
    name: '19 of an address',
    failures: 19,
    account: 'made-up-%',
    each: '192.0.2.1',
    at: 'bob 192.0.2.1',
    want: 0,
  },
  {
    name: '20 of an address',
    failures: 20,
    account: 'made-up-%',
    each: '192.0.2.1',
    at: 'bob 192.0.2.1',
    want: 1,
  },
  {
    name: '23 of an address',
    failures: 23,
    account: 'made-up-%',
    each: '192.0.2.1',
    at: 'bob 192.0.2.1',
    want: 8,
  },
  {
    name: '40 of an address',
    failures: 40,
    account: 'made-up-%',
    each: '192.0.2.1',
    at: 'bob 192.0.2.1',
    want: 60,
  },
  {
    name: 'an address, from elsewhere',
    failures: 40,
    account: 'made-up-%',
    each: '192.0.2.1',
    at: 'bob 192.0.2.2',
    want: 0,
  },
  {
    name: 'a /64 of IPv6',
    failures: 20,
    account: 'made-up-%',
    each: '2001:db8::%',
    at: 'bob 2001:db8::ffff',
    want: 1,
  },
  {
    name: '49 of an account',
    failures: 49,
    account: 'bob',
    each: '198.51.100.%',
    at: 'bob 192.0.2.1',
    want: 0,
  },
  {
    name: '50 of an account',
    failures: 50,
    account: 'bob',
    each: '198.51.100.%',
    at: 'bob 192.0.2.1',
    want: 1,
  },
  {
    name: '54 of an account',
    failures: 54,
    account: 'bob',
    each: '198.51.100.%',
    at: 'bob 192.0.2.1',
    want: 16,
  },
  {
    name: '90 of an account',
    failures: 90,
    account: 'bob',
    each: '198.51.100.%',
    at: 'bob 192.0.2.1',
    want: 30,
  },
  {
    name: 'an account, of another',
    failures: 60,
    account: 'bob',
    each: '198.51.100.%',
    at: 'eve 192.0.2.1',
    want: 0,
  },
  { name: 'no address, of the account', failures: 49, account: 'bob', each: '', at: 'bob ', want: 0 },
  { name: 'no address, of another account', failures: 60, account: 'bob', each: '', at: 'eve ', want: 0 },
  {
    name: 'a name as long as a header',
    failures: 5,
    account: 'x'.repeat(30_000),
    each: '192.0.2.1',
    at: `${'x'.repeat(30_000)} 192.0.2.1`,
    want: 1,
  },
];

eachHome((home) => {
  const accounts = new Accounts(home);
  const now = AHEAD;
  beforeEach(async () => {
    await home.stopClock(now);
    await accounts.evict();
    await accounts.rows('DELETE FROM failed_logins');
  });

  describe('the wait after failures: ', () => {
    for (const { name, failures, account, each, at, want } of WAITS) {
      it(`the wait after failed logins: ${name}: ${want} s`, async () => {
        for (let n = 1; n <= failures; n++) {
          await accounts.fail(account.replace('%', String(n)), each.replace('%', String(n)));
        }
        const [who = '', where = ''] = at.split(' ');
        assert.equal(await accounts.waitMs(who, where), want * 1000);
        await home.stopClock(now + want * 1000);
        assert.equal(await accounts.waitMs(who, where), 0);
      });
    }
  });

  describe('a record', () => {
    it('a record of failed logins is cleared by a success, but that of the address and that of the account stay', async () => {
      await accounts.fail('bob', '192.0.2.1', 6);
      assert.deepEqual(await standing('bob', '192.0.2.1'), [2 * LOGIN_WAIT_MIN_MS, true]);
      await accounts.call('recordLogin', 'bob', '192.0.2.1', true);
      assert.deepEqual(await standing('bob', '192.0.2.1'), [0, false]);
      const rows = await accounts.rows('SELECT kind, failures FROM failed_logins ORDER BY kind');
      assert.deepEqual(rows, [
        { kind: 'account', failures: 6 },
        { kind: 'address', failures: 6 },
        { kind: 'known', failures: 0 },
      ]);
    });

    it('a record of failed logins of an account does not hold up where it was logged in from before', async () => {
      await accounts.call('recordLogin', 'bob', '198.51.100.9', true);
      for (let at = 0; at < FAILED_LOGINS_OF_ACCOUNT + 1; at++) await accounts.fail('bob', `203.0.113.${at}`);
      assert.equal((await standing('bob', '198.51.100.9'))[0], 0);
      assert.notEqual((await standing('bob', '198.51.100.10'))[0], 0);
    });

    it('a record of failed logins of an address does not hold up who logged in from there before', async () => {
      await accounts.call('recordLogin', 'bob', '192.0.2.1', true);
      for (let at = 0; at < 30; at++) await accounts.fail(`made-up-${at}`, '192.0.2.1');
      assert.equal((await standing('bob', '192.0.2.1'))[0], 0);
      assert.equal(await accounts.call('mayTryPassword', 'bob', '192.0.2.1'), true);
      assert.notEqual((await standing('eve', '192.0.2.1'))[0], 0);
    });

    it('a record of failed logins counts what is under way: many at once are tried no more often than one after another', async () => {
      const tried = await Promise.all(
        Array.from({ length: 3 * FAILED_LOGINS_OF_PAIR }, () =>
          accounts.call('mayTryPassword', 'bob', '192.0.2.1'),
        ),
      );
      assert.equal(tried.filter((may) => may === true).length, FAILED_LOGINS_OF_PAIR);
      await accounts.fail('bob', '192.0.2.1', FAILED_LOGINS_OF_PAIR);
      assert.equal(await accounts.call('mayTryPassword', 'bob', '192.0.2.1'), false);
    });

    it('a record of failed logins survives eviction', async () => {
      await accounts.fail('bob', '192.0.2.1', 15);
      await accounts.evict();
      assert.deepEqual(await standing('bob', '192.0.2.1'), [LOGIN_WAIT_MAX_MS, true]);
    });

    it('a record of failed logins loses one failure for each time of quiet, and is removed when all are forgotten', async () => {
      await accounts.fail('bob', '192.0.2.1', 4);
      await home.stopClock(now + 2 * FAILED_LOGIN_FORGOTTEN_MS);
      await accounts.fail('bob', '192.0.2.1');
      const query = "SELECT failures FROM failed_logins WHERE kind = 'pair'";
      assert.deepEqual(await accounts.rows(query), [{ failures: 3 }]);
      await home.stopClock(now + 5 * FAILED_LOGIN_FORGOTTEN_MS - 1);
      assert.deepEqual(await standing('bob', '192.0.2.1'), [0, true]);
      await home.stopClock(now + 5 * FAILED_LOGIN_FORGOTTEN_MS);
      assert.deepEqual(await standing('bob', '192.0.2.1'), [0, false]);
      await home.stopClock(now + 6 * FAILED_LOGIN_FORGOTTEN_MS);
      assert.ok((await accounts.ringAll()) > 0);
      assert.deepEqual(await accounts.rows('SELECT * FROM failed_logins'), []);
      assert.equal(await home.alarmAt('ACCOUNTS', 'accounts'), null);
    });

    it('a record of failed logins is not forgotten while its failures go on at the end of each wait', async () => {
      let at = now;
      for (let n = 1; n <= 20; n++) {
        await accounts.fail('bob', '192.0.2.1');
        at += await accounts.waitMs('bob', '192.0.2.1');
        await home.stopClock(at);
      }
      await accounts.fail('bob', '192.0.2.1');
      assert.equal(await accounts.waitMs('bob', '192.0.2.1'), LOGIN_WAIT_MAX_MS);
    });

    it('a record of failed logins lets one attempt pass when the wait is over, and not all that come at once', async () => {
      await accounts.fail('bob', '192.0.2.1', 15);
      await home.stopClock(now + LOGIN_WAIT_MAX_MS);
      const waits = await Promise.all(Array.from({ length: 5 }, () => accounts.waitMs('bob', '192.0.2.1')));
      assert.deepEqual(waits.sort(), [0, ...Array.from({ length: 4 }, () => LOGIN_WAIT_MIN_MS)]);
    });
  });

  async function standing(account: string, address: string): Promise<[number, boolean]> {
    const { waitMs, hasFailed } = await accounts.lookup({ account, address });
    return [waitMs, hasFailed];
  }
});

onHome('disk', (home) => {
  const accounts = new Accounts(home);

  it('the number of records is bounded, and records that delay a login are kept', async () => {
    await accounts.fail('bob', '192.0.2.1', 15);
    await accounts.rows(`WITH RECURSIVE made (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM made WHERE n < ${FAILED_LOGIN_ROWS_MAX})
      INSERT INTO failed_logins SELECT 'account', 'made-up ' || n, '', 1, 0, ${Date.now() + 1000} + n FROM made RETURNING 1`);
    await accounts.evict();
    await accounts.fail('eve', '192.0.2.2', 3);
    const [{ count } = {}] = await accounts.rows('SELECT COUNT(*) AS count FROM failed_logins');
    assert.equal(count, FAILED_LOGIN_ROWS_MAX);
    assert.ok((await accounts.waitMs('bob', '192.0.2.1')) > 0);
    assert.equal((await accounts.lookup({ account: 'eve', address: '192.0.2.2' })).hasFailed, true);
    assert.deepEqual(await accounts.rows("SELECT 1 FROM failed_logins WHERE account = 'made-up 1'"), []);
  });
});
