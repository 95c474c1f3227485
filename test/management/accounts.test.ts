/** Users and tokens, over the management API. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { onHome } from '../support/homes.ts';
import { Api, GUARDED } from './api.ts';

const BOB = 'bob:the password of bob';
const GRANTS = [{ role: 'writer', repositories: 'team-a/*' }];

onHome(
  'disk',
  (home) => {
    const api = new Api(home);
    const create = (body: object) => ['POST', '/users', body] as ['POST', string, object];

    describe('users', () => {
      api.table([
        {
          name: 'adds one',
          request: create({ name: 'bob', password: 'the password of bob', groups: ['dev'] }),
          want: 201,
          says: /"hasPassword":true/,
        },
        {
          name: 'adds one who signs in elsewhere',
          request: create({ name: 'eve@x.org' }),
          want: 201,
          says: /"hasPassword":false/,
        },
        {
          name: 'refuses a second',
          request: create({ name: 'bob' }),
          want: 409,
          says: /there is a user bob already/,
        },
        {
          name: 'refuses the name of a setting',
          request: create({ name: 'admin' }),
          want: 409,
          says: /ADMIN_PASSWORD/,
        },
        { name: 'refuses names', request: create({ name: '../bob' }), want: 400, says: /name: is 1 to 128/ },
        { name: 'refuses no name', request: create({}), want: 400, says: /name: .*expected string/ },
        {
          name: 'refuses short passwords',
          request: create({ name: 'x', password: 'abcdefghij1' }),
          want: 400,
          says: /password: has at least 12/,
        },
        {
          name: 'refuses passwords that are on every list',
          request: create({ name: 'x', password: '1qaz2wsx3edc' }),
          want: 400,
          says: /password: is on the lists/,
        },
        {
          name: 'refuses passwords made of the name',
          request: create({ name: 'margarete', password: 'margarete-2024' }),
          want: 400,
          says: /password: is (?:one word|made of a name)/,
        },
        {
          name: 'refuses long passwords',
          request: create({ name: 'x', password: 'x'.repeat(257) }),
          want: 400,
          says: /password: has at most 256/,
        },
        {
          name: 'refuses groups of other names',
          request: create({ name: 'x', groups: ['ok', 'a,b'] }),
          want: 400,
          says: /groups\.1: /,
        },
        { name: 'gets one', request: ['GET', '/users/bob'], want: 200, says: /"groups":\["dev"\]/ },
        {
          name: 'knows no other',
          request: ['GET', '/users/missing'],
          want: 404,
          says: /there is no user missing/,
        },
        {
          name: 'changes none that is not there',
          request: ['PATCH', '/users/missing', { disabled: true }],
          want: 404,
        },
        {
          name: 'changes groups',
          request: ['PATCH', '/users/bob', { groups: ['ops'] }],
          want: 200,
          says: /"groups":\["ops"\],"disabled":false,"hasPassword":true/,
        },
        {
          name: 'disables',
          request: ['PATCH', '/users/bob', { disabled: true }],
          want: 200,
          says: /"disabled":true/,
        },
        { name: 'lets the disabled in no more', as: BOB, request: ['GET', '/me'], want: 401 },
        { name: 'enables', request: ['PATCH', '/users/bob', { disabled: false }], want: 200 },
        {
          name: 'lets them in again',
          as: BOB,
          request: ['GET', '/me'],
          want: 200,
          says: /"subject":"user:bob","admin":false/,
        },
        {
          name: 'changes a password',
          request: ['PATCH', '/users/bob', { password: 'another password' }],
          want: 200,
        },
        {
          name: 'refuses the old password',
          as: BOB,
          request: ['GET', '/me'],
          want: 401,
          says: /wrong name or password/,
        },
        { name: 'takes the new one', as: 'bob:another password', request: ['GET', '/me'], want: 200 },
        { name: 'removes', request: ['DELETE', '/users/eve@x.org'], want: 204 },
        { name: 'removes once', request: ['DELETE', '/users/eve@x.org'], want: 404 },
        {
          name: 'has other methods for it',
          request: ['PUT', '/users/bob', {}],
          want: 405,
          says: /GET, PATCH, DELETE/,
        },
        {
          name: 'refuses odd pages',
          request: ['GET', '/users?n=many'],
          want: 400,
          says: /n: is a whole number/,
        },
      ]);

      it('users are listed by page, and never with a hash', async () => {
        await api.made('POST', '/users', { name: 'zoe', password: 'the password of zoe' });
        const first = await api.call('GET', '/users?n=1');
        assert.equal(first.headers.get('Link'), '</api/v1/users?n=1&last=bob>; rel="next"');
        const second = await api.call('GET', '/users?n=1&last=bob');
        assert.equal(second.headers.get('Link'), null);
        assert.match(second.text, /"name":"zoe"/);
        for (const { text } of [first, second]) assert.doesNotMatch(text, /scrypt|"password"/);
      });
    });

    describe('tokens', () => {
      let ci = '';
      api.table([
        {
          name: 'refuses a robot without rights',
          request: ['POST', '/tokens', { name: 'x' }],
          want: 400,
          says: /grants: a robot has only the rights of its grants/,
        },
        {
          name: 'refuses roles',
          request: ['POST', '/tokens', { name: 'x', grants: [{ role: 'king', repositories: '**' }] }],
          want: 400,
          says: /grants\.0\.role: /,
        },
        {
          name: 'refuses patterns',
          request: ['POST', '/tokens', { name: 'x', grants: [{ role: 'reader', repositories: 'a b' }] }],
          want: 400,
          says: /grants\.0\.repositories: is a pattern/,
        },
        {
          name: 'refuses an end in the past',
          request: ['POST', '/tokens', { name: 'x', grants: GRANTS, expiresAt: '2001-01-01T00:00:00Z' }],
          want: 400,
          says: /expiresAt: lies in the past/,
        },
        {
          name: 'refuses two ends',
          request: [
            'POST',
            '/tokens',
            { name: 'x', grants: GRANTS, expiresAt: '2099-01-01T00:00:00Z', expiresIn: 5 },
          ],
          want: 400,
          says: /expiresAt: /,
        },
        {
          name: 'refuses no time at all',
          request: ['POST', '/tokens', { name: 'x', grants: GRANTS, expiresIn: 0 }],
          want: 400,
          says: /expiresIn: /,
        },
        {
          name: 'knows its owner',
          request: ['POST', '/tokens', { name: 'x', owner: 'missing' }],
          want: 404,
          says: /there is no user missing/,
        },
        {
          name: 'removes none that is not there',
          request: ['DELETE', '/tokens/0123456789abcdef'],
          want: 404,
        },
      ]);

      it('tokens are told once, work, and are listed without their secret', async () => {
        const made = await api.made('POST', '/tokens', { name: 'ci', grants: GRANTS, expiresIn: 3600 });
        ci = String(made.token);
        assert.match(ci, /^lsr_[0-9a-f]{16}_[\w-]{43}$/);
        const ends = Date.parse(String(made.expiresAt)) - Date.now();
        assert.ok(ends > 3_500_000 && ends <= 3_600_000);
        for (const as of [`Bearer ${ci}`, `anyone:${ci}`]) {
          const { json } = await api.call('GET', '/me', undefined, as);
          assert.equal(json.subject, 'token:ci');
        }
        const { text } = await api.call('GET', '/tokens');
        assert.match(text, /"name":"ci"/);
        assert.ok(!text.includes(ci.slice(-43)));
        assert.doesNotMatch(text, /"hash"|"token":/);
        assert.equal((await api.call('POST', '/tokens', { name: 'ci', grants: GRANTS })).status, 409);
      });

      it('tokens end at their time', async () => {
        await home.setClockAhead(3_601_000);
        const { status, text } = await api.call('GET', '/me', undefined, `Bearer ${ci}`);
        await home.setClockAhead(0);
        assert.equal(status, 401);
        assert.match(text, /the token ci has expired/);
      });

      it('tokens of an admin manage, unless they are narrowed', async () => {
        const all = [{ role: 'admin', repositories: '**' }];
        const robot = await api.made('POST', '/tokens', { name: 'terraform', grants: all });
        assert.equal((await api.call('GET', '/users', undefined, `Bearer ${robot.token}`)).status, 200);
        await api.made('POST', '/rules', { subject: 'user:zoe', role: 'admin', repositories: '**' });
        const zoe = 'zoe:the password of zoe';
        assert.equal((await api.call('GET', '/users', undefined, zoe)).status, 200);
        const narrow = await api.made('POST', '/me/tokens', { name: 'narrow', grants: GRANTS }, zoe);
        assert.equal((await api.call('GET', '/users', undefined, `Bearer ${narrow.token}`)).status, 403);
      });

      it('tokens are listed by owner, and revoked at once', async () => {
        const owner = await api.call('GET', '/tokens?owner=zoe');
        assert.match(owner.text, /"name":"narrow"/);
        assert.doesNotMatch(owner.text, /"name":"ci"/);
        const named = await api.made('GET', '/tokens?name=zoe/narrow');
        assert.match(
          JSON.stringify(named.tokens),
          /^\[\{"id":"[^"]+","name":"narrow","owner":"zoe"[^[]*\[[^\]]*\][^[]*\]$/,
        );
        const both = await api.call('GET', '/tokens?name=narrow&owner=zoe');
        assert.equal(both.status, 400);
        assert.match(both.text, /name: cannot be used together with owner: use owner\/name/);
        const robots = (await api.made('GET', '/tokens?owner=')).tokens as { id: string; name: string }[];
        assert.deepEqual(
          robots.map(({ name }) => name),
          ['ci', 'terraform'],
        );
        await api.made('DELETE', `/tokens/${robots[0]?.id}`);
        assert.equal((await api.call('GET', '/me', undefined, `Bearer ${ci}`)).status, 401);
      });
    });
  },
  GUARDED,
);
