/** What named tokens may do with the management API, and whose their names are. */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { onHome } from '../support/homes.ts';
import { Api, GUARDED } from './api.ts';

const PASSWORD = 'the password of a user';
const EVERYTHING = [{ role: 'admin', repositories: '**' }];

onHome(
  'disk',
  (home) => {
    const api = new Api(home);
    before(async () => {
      for (const name of ['ada', 'ben']) await api.made('POST', '/users', { name, password: PASSWORD });
      await api.made('POST', '/rules', { subject: 'user:ada', role: 'admin', repositories: '**' });
    });
    const token = async (body: object) => `Bearer ${(await api.made('POST', '/tokens', body)).token}`;

    describe('a token opens the management API', () => {
      const rows: { name: string; body: object; want: number }[] = [
        { name: 'not as the whole of an admin', body: { name: 'all', owner: 'ada' }, want: 403 },
        {
          name: 'not with another role',
          body: { name: 'robot-1', grants: [{ role: 'maintainer', repositories: '**' }] },
          want: 403,
        },
        {
          name: 'as a robot with the role admin on **',
          body: { name: 'robot-2', grants: EVERYTHING },
          want: 200,
        },
        {
          name: 'of an admin, with that role of its own',
          body: { name: 'a', owner: 'ada', grants: EVERYTHING },
          want: 200,
        },
        {
          name: 'not of another user, with that role',
          body: { name: 'b', owner: 'ben', grants: EVERYTHING },
          want: 403,
        },
      ];
      for (const { name, body, want } of rows)
        it(`a token ${want === 200 ? 'opens' : 'does not open'} the management API: ${name}`, async () => {
          const bearer = await token(body);
          for (const path of ['/users', '/audit'])
            assert.equal((await api.call('GET', path, undefined, bearer)).status, want);
        });
    });

    it('a token revokes itself, and no other', async () => {
      for (const owner of ['ben', undefined]) {
        const make = (name: string) =>
          api.made('POST', '/tokens', { name, owner, grants: [{ role: 'reader', repositories: 'a' }] });
        const [one, other] = [await make(`one-${owner}`), await make(`other-${owner}`)];
        const revoke = (id: unknown) =>
          api.call('DELETE', `/me/tokens/${id}`, undefined, `Bearer ${one.token}`);
        assert.equal((await revoke(other.id)).status, 403);
        assert.equal((await revoke(one.id)).status, 204);
        assert.equal((await revoke(one.id)).status, 401);
      }
    });

    it('two users have tokens of one name, and one user has it once', async () => {
      const make = (owner: string) =>
        api
          .call('POST', '/me/tokens', { name: 'laptop' }, `${owner}:${PASSWORD}`)
          .then(({ status }) => status);
      assert.deepEqual([await make('ada'), await make('ben'), await make('ben')], [201, 201, 409]);
      const { tokens } = (await api.made('GET', '/tokens?n=1000')) as {
        tokens: { name: string; owner: string }[];
      };
      const owners = tokens.filter(({ name }) => name === 'laptop').map(({ owner }) => owner);
      assert.deepEqual(owners.sort(), ['ada', 'ben']);
    });

    it('pages of tokens have each token once', async () => {
      const all = (await api.made('GET', '/tokens?n=1000')).tokens as { id: string }[];
      const paged: string[] = [];
      for (let path: string | undefined = '/tokens?n=2'; path !== undefined; ) {
        const { json, headers } = await api.call('GET', path);
        paged.push(...(json.tokens as { id: string }[]).map(({ id }) => id));
        path = /^<\/api\/v1([^>]+)>/.exec(headers.get('Link') ?? '')?.[1];
      }
      assert.deepEqual(
        paged,
        all.map(({ id }) => id),
      );
    });
  },
  GUARDED,
);
