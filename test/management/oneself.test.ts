/** What people may see and change about themselves, over the management API. */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { onHome } from '../support/homes.ts';
import { ADMIN, Api, GUARDED } from './api.ts';

onHome(
  'disk',
  (home) => {
    const api = new Api(home);
    before(() => api.made('POST', '/users', { name: 'zoe', password: 'the password of zoe' }));

    describe('oneself', () => {
      const carol = 'carol:the password of carol';
      before(() => api.made('POST', '/users', { name: 'carol', password: 'the password of carol' }));
      const password = (current: string, next: string) =>
        ['PUT', '/me/password', { current, new: next }] as ['PUT', string, object];
      api.table([
        {
          name: 'sees no token of others',
          as: carol,
          request: ['GET', '/me/tokens'],
          want: 200,
          says: /^\{"tokens":\[\]\}$/,
        },
        {
          name: 'refuses a wrong password',
          as: carol,
          request: password('wrong', 'quite long enough'),
          want: 403,
          says: /current: /,
        },
        {
          name: 'refuses a short password',
          as: carol,
          request: password('the password of carol', 'short'),
          want: 400,
          says: /new: has at least/,
        },
        {
          name: 'refuses a common password',
          as: carol,
          request: password('the password of carol', 'administrator1'),
          want: 400,
          says: /new: is /,
        },
        {
          name: 'does not change a setting',
          as: ADMIN,
          request: password('the password of the admin', 'quite long enough'),
          want: 409,
          says: /ADMIN_PASSWORD/,
        },
        {
          name: 'changes the password',
          as: carol,
          request: password('the password of carol', 'a new password'),
          want: 204,
        },
        { name: 'no longer with the old one', as: carol, request: ['GET', '/me'], want: 401 },
        { name: 'with the new one', as: 'carol:a new password', request: ['GET', '/me'], want: 200 },
      ]);

      it('a user makes own tokens, which only that user removes', async () => {
        const me = 'carol:a new password';
        const { id, token, owner } = await api.made('POST', '/me/tokens', { name: 'laptop' }, me);
        assert.equal(owner, 'carol');
        assert.equal((await api.made('GET', '/me', undefined, `Bearer ${token}`)).subject, 'user:carol');
        const zoe = 'zoe:the password of zoe';
        assert.equal((await api.call('DELETE', `/me/tokens/${id}`, undefined, zoe)).status, 404);
        assert.equal((await api.call('DELETE', `/me/tokens/${id}`, undefined, me)).status, 204);
        assert.equal((await api.call('GET', '/me', undefined, `Bearer ${token}`)).status, 401);
      });
    });
  },
  GUARDED,
);
