/** What holds for every operation of the management API: who gets in, what is refused before it is read, what is told. */

import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { MANAGEMENT_BODY_MAX_BYTES } from '../../worker/management/input.ts';
import { OPERATIONS } from '../../worker/management/management.ts';
import { eachHome, onHome } from '../support/homes.ts';
import { Visitor } from '../support/visitor.ts';
import { ADMIN, Api, GUARDED } from './api.ts';

const USER = 'carol:the password of carol';
const rows = OPERATIONS.map((row) => ({ ...row, at: row.path.replace(/\{\w+\}/, 'nothing') }));
const guarded = rows.filter(({ requires }) => requires !== 'nothing');

eachHome((home) => {
  const api = new Api(home);
  let token = '';
  let accessToken = '';

  before(async () => {
    await api.made('POST', '/users', { name: 'carol', password: 'the password of carol' });
    const made = await api.made('POST', '/me/tokens', { name: 'carols' }, USER);
    token = String(made.token);
    accessToken = await new Visitor(home, ADMIN).token('repository:a/b:pull,push');
  });

  it('the token of a pull is no password of the management API', async () => {
    const { status, text } = await api.call('GET', '/me', undefined, `admin:${accessToken}`);
    assert.equal(status, 401);
    assert.match(text, /no trust of this registry accepts/);
  });

  describe('every operation', () => {
    for (const { id, method, at, requires, body } of guarded) {
      const refuses = async (as: string | null, want: number, says: RegExp) => {
        const { status, text, headers } = await api.call(method, at, body && {}, as);
        assert.equal(status, want, text);
        assert.match(text, says);
        const challenge = headers.get('WWW-Authenticate');
        assert.equal(challenge, want === 401 ? 'Basic realm="longshore", charset="UTF-8"' : null);
      };
      it(`the operation ${id} refuses those without credentials`, () => refuses(null, 401, /log in with/));
      it(`the operation ${id} refuses the token of a pull`, () =>
        refuses(`Bearer ${accessToken}`, 401, /log in with/));
      if (requires === 'admin') {
        it(`the operation ${id} refuses users`, () => refuses(USER, 403, /user:carol may not do this/));
        it(`the operation ${id} refuses tokens of users`, () =>
          refuses(`Bearer ${token}`, 403, /for pulls and pushes/));
      }
      if (requires === 'password' || requires === 'own')
        it(`the operation ${id} refuses tokens`, () =>
          refuses(`Bearer ${token}`, 403, /for pulls and pushes/));
    }

    for (const { id, method, at } of rows.filter(({ body }) => body !== undefined)) {
      it(`the operation ${id} takes nothing but JSON`, async () => {
        for (const type of ['text/plain', 'application/x-www-form-urlencoded', '']) {
          const { status, text } = await api.call(method, at, '{}', ADMIN, { 'Content-Type': type });
          assert.equal(status, 415, text);
        }
        const { status, text } = await api.call(method, at, '{');
        assert.equal(status, 400);
        assert.match(text, /the body is not JSON/);
      });
      it(`the operation ${id} takes no large body`, async () => {
        const large = JSON.stringify({ name: 'x'.repeat(MANAGEMENT_BODY_MAX_BYTES) });
        assert.equal((await api.call(method, at, large)).status, 413);
      });
      it(`the operation ${id} takes no field that it does not know`, async () => {
        const { status, json } = await api.call(method, at, { surprise: 'a secret value' });
        assert.equal(status, 400);
        assert.doesNotMatch(JSON.stringify(json), /a secret value/);
      });
    }
  });
}, GUARDED);

onHome(
  'disk',
  (home) => {
    const api = new Api(home);
    describe('without access control', () => {
      api.table([
        {
          name: 'anybody on loopback is an admin',
          as: null,
          request: ['GET', '/me'],
          want: 200,
          says: /"admin":true/,
        },
        { name: 'and adds users', as: null, request: ['POST', '/users', { name: 'bob' }], want: 201 },
        { name: 'but is no user', as: null, request: ['GET', '/me/tokens'], want: 409, says: /for users/ },
      ]);
    });
  },
  { vars: { AUTH: 'off' } },
);
