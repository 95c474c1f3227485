/** Guesses from many addresses and from one that many share: what they cost the registry, and whom they make wait or not. */

import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { HASHES_OF_KNOWN, HASHES_OF_STRANGERS } from '../../worker/auth/credentials/passwords.ts';
import { ADMIN, Api, GUARDED } from '../management/api.ts';
import { eachHome } from '../support/homes.ts';
import { type Answer, Visitor } from '../support/visitor.ts';
import { pushBlob } from './matrix/endpoints.ts';

const PASSWORD = 'the password of a user';
const SCOPE = 'repository:own/app:pull';
const GUESSERS = 6;
const GUESSES = 6;
const SHARED = '192.0.2.1';
const KNOWN = '203.0.113.7';

eachHome(
  (home) => {
    const api = new Api(home);
    let held = '';
    let robot: unknown;
    let now = Date.now() + 3600_000;

    before(async () => {
      held = `/v2/own/app/blobs/${await pushBlob(new Visitor(home, ADMIN), 'own/app')}`;
      for (let at = 0; at < GUESSERS; at++)
        await api.made('POST', '/users', { name: `user-${at}`, password: PASSWORD });
      await api.made('POST', '/rules', { subject: 'authenticated', role: 'reader', repositories: 'own/*' });
      const grants = [{ role: 'reader', repositories: 'own/*' }];
      robot = (await api.made('POST', '/tokens', { name: 'robot', grants })).token;
      await home.stopClock(now);
      await from(KNOWN, `user-1:${PASSWORD}`);
    });

    let wrongs = 0;
    /** The same login again would be no guess. */
    const wrong = () => `wrong ${++wrongs}`;
    /** Time only ever goes on. */
    const later = (ms: number) => {
      now += ms;
      return home.stopClock(now);
    };
    const addressed = (address: string) => ({ 'X-Forwarded-For': address, 'CF-Connecting-IP': address });
    const from = (address: string, shown: string, path = `/token?scope=${SCOPE}`) =>
      new Visitor(home, shown).send('GET', path, { headers: addressed(address) });
    /** The clock stands, so no hash comes back. */
    const useUpHashes = () =>
      Promise.all(
        Array.from({ length: HASHES_OF_STRANGERS.burst }, (_, at) =>
          from(`192.0.2.${100 + at}`, `made-up:${wrong()}`),
        ),
      );
    const statuses = (answers: Answer[]) => [...new Set(answers.map(({ status }) => status))].sort();

    it('guessers from many addresses get no more hashes than the budget has, and delay no pull and no known user', async () => {
      const token = JSON.parse((await from(SHARED, `any:${robot}`)).text).token;
      await later(60_000);
      const before = await home.hashes();
      const guesses = Array.from({ length: GUESSERS * GUESSES }, (_, at) =>
        from(`198.51.100.${at}`, `user-${at % GUESSERS}:${wrong()}`),
      );
      const pulls = await Promise.all(
        Array.from({ length: 20 }, () =>
          new Visitor(home, null).send('GET', held, { authorization: `Bearer ${token}` }),
        ),
      );
      const answers = await Promise.all(guesses);
      assert.deepEqual(statuses(pulls), [200]);
      assert.equal((await home.hashes()) - before, HASHES_OF_STRANGERS.burst);
      assert.deepEqual(statuses(answers), [401, 429]);
      for (const { status, headers } of answers)
        if (status === 429) assert.ok(Number(headers.get('Retry-After')) >= 1);
      // Who has logged in from there before has a budget apart.
      assert.equal((await from(KNOWN, `user-1:${wrong()}`)).status, 401);
      assert.equal((await home.hashes()) - before, HASHES_OF_STRANGERS.burst + 1);
      await later(60_000);
    });

    it('a name that does not exist costs no hash, and is answered like one that does', async () => {
      const before = await home.hashes();
      const unknown = await from('198.51.100.200', `made-up:${wrong()}`);
      assert.equal(await home.hashes(), before);
      const known = await from('198.51.100.201', `user-0:${wrong()}`);
      assert.equal(await home.hashes(), before + 1);
      assert.deepEqual([unknown.status, unknown.text], [known.status, known.text]);
      await later(60_000);
    });

    it('a password that has matched costs no hash at other addresses, and no login of its user is refused', async () => {
      const user = `user-2:${PASSWORD}`;
      await from('198.51.100.202', user);
      const before = await home.hashes();
      const logins = Array.from({ length: 30 }, (_, at) => from(`203.0.113.${100 + at}`, user));
      assert.deepEqual(statuses(await Promise.all(logins)), [200]);
      assert.equal(await home.hashes(), before);
    });

    it('guesses that use up the hashes do not hold up a login of the admin, which needs none', async () => {
      await useUpHashes();
      assert.equal((await from('198.51.100.203', ADMIN)).status, 200);
      await later(60_000);
    });

    it('a login that guesses hold up does not outlive a change of its password', async () => {
      await useUpHashes();
      const old = `user-5:${PASSWORD}`;
      const login = from('198.51.100.204', old, held);
      await api.made('PATCH', '/users/user-5', { password: 'quite another password' });
      // Until everybody has heard of it, and there are hashes again.
      await later(31_000);
      await new Visitor(home, ADMIN).must(200, 'GET', held);
      assert.equal((await login).status, 401);
      assert.equal((await from('198.51.100.204', old, held)).status, 401);
      await later(60_000);
    });

    it('a user without any right gets no more hashes by changes of the own password than the budget has', async () => {
      const user = `user-1:${PASSWORD}`;
      await from(KNOWN, user);
      const before = await home.hashes();
      const change = (body: Record<string, string>) =>
        new Visitor(home, user).send('PUT', '/api/v1/me/password', {
          headers: { ...addressed(KNOWN), 'Content-Type': 'application/json' },
          body: JSON.stringify(body),
        });
      const wrong = Array.from({ length: 5 }, () => change({ current: 'wrong', new: 'quite another one' }));
      assert.deepEqual(statuses(await Promise.all(wrong)), [403]);
      assert.equal(await home.hashes(), before);
      const right = Array.from({ length: 15 }, () => change({ current: PASSWORD, new: PASSWORD }));
      const answers = await Promise.all(right);
      assert.ok(answers.some(({ status }) => status === 204));
      assert.ok((await home.hashes()) - before <= HASHES_OF_KNOWN.burst);
      await later(60_000);
    });

    it('machines that go on with an old password do not make its user wait behind their address', async () => {
      const behind = '198.51.100.205';
      const old = `user-4:${PASSWORD}`;
      assert.equal((await from(behind, old)).status, 200);
      await api.made('PATCH', '/users/user-4', { password: 'the new password of a user' });
      await later(31_000);
      for (let at = 0; at < 8; at++) {
        const answers = await Promise.all([1, 2, 3].map(() => from(behind, old)));
        assert.deepEqual(statuses(answers), [401]);
        await later(2_000);
      }
      assert.equal((await from(behind, 'user-4:the new password of a user')).status, 200);
      await api.made('PATCH', '/users/user-4', { password: PASSWORD });
      await later(60_000);
    });

    describe('wrong passwords under made-up names from a shared address', () => {
      const user = `user-3:${PASSWORD}`;
      let issued = '';

      before(async () => {
        issued = JSON.parse((await from(SHARED, user)).text).token;
        const guess = (at: number) => from(SHARED, `made-up-${at}:wrong`);
        for (let at = 0; at < 20; at++) {
          await guess(at);
          await later(500);
        }
        await guess(20);
        await guess(21);
        assert.equal((await guess(99)).status, 429);
      });

      it('wrong passwords under made-up names from a shared address make a stranger wait, but for no longer than a minute', async () => {
        const { status, headers } = await from(SHARED, `user-4:${PASSWORD}`);
        assert.equal(status, 429);
        assert.ok(Number(headers.get('Retry-After')) <= 60);
      });

      it('wrong passwords under made-up names from a shared address do not make a named token wait', async () => {
        assert.equal((await from(SHARED, `any:${robot}`)).status, 200);
      });

      it('wrong passwords under made-up names from a shared address do not make an access token wait', async () => {
        const sent = { authorization: `Bearer ${issued}`, headers: addressed(SHARED) };
        assert.equal((await new Visitor(home, null).send('GET', held, sent)).status, 200);
      });

      it('wrong passwords under made-up names from a shared address do not make a user wait who has logged in from there before', async () => {
        assert.equal((await from(SHARED, user)).status, 200);
      });
    });
  },
  { vars: { ...GUARDED.vars, TRUSTED_PROXIES: '127.0.0.0/8' } },
);
