/**
 * The Docker token protocol as clients see it: challenges, the token endpoint in both its forms, what a token says and how it
 * is verified by anybody who has the published keys.
 */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { createRemoteJWKSet, decodeProtectedHeader, jwtVerify } from 'jose';
import { ADMIN, Api, GUARDED } from '../management/api.ts';
import { eachHome, type HomeOptions } from '../support/homes.ts';
import { Visitor } from '../support/visitor.ts';
import { pushBlob } from './matrix/endpoints.ts';

/** `the password of the file`, as `htpasswd -B` and its relatives write it. */
const HTPASSWD = [
  '# from registry:2',
  'old:$2y$05$furjYk3RoCmwk9tbJEU50.oTfjlxIS8CM09B1z7xhpXsBqJq9GE3S',
  'older:$2b$05$furjYk3RoCmwk9tbJEU50.oTfjlxIS8CM09B1z7xhpXsBqJq9GE3S',
].join('\n');

const options: HomeOptions = { vars: { ...GUARDED.vars, HTPASSWD } };
const BOB = 'bob:the password of bob';

eachHome((home) => {
  it('a user who is disabled is refused, also with the password of HTPASSWD', async () => {
    // The name was a user before it was in the file.
    await home.call('ACCOUNTS', 'accounts', 'putUser', { name: 'older', groups: [], onlyNew: true });
    const older = new Visitor(home, 'older:the password of the file');
    const api = new Api(home);
    const { id, token } = await api.made('POST', '/tokens', { name: 'of-older', owner: 'older' });
    const named = new Visitor(home, `older:${token}`);
    for (const visitor of [older, named]) await visitor.must(200, 'GET', '/token');
    await api.made('PATCH', '/users/older', { disabled: true });
    for (const visitor of [older, named]) {
      await visitor.must(401, 'GET', '/token');
      await visitor.must(401, 'GET', '/v2/');
    }
    await api.made('PATCH', '/users/older', { disabled: false });
    await older.must(200, 'GET', '/token');
    await api.made('DELETE', `/tokens/${id}`);
    await api.made('DELETE', '/users/older');
    await older.must(200, 'GET', '/token');
  });

  const admin = new Visitor(home, ADMIN);
  const bob = new Visitor(home, BOB);
  const anonymous = new Visitor(home, null);
  const form = (fields: Record<string, string> | [string, string][]) =>
    anonymous.send('POST', '/token', { body: new URLSearchParams(fields).toString(), headers: FORM });
  const FORM = { 'Content-Type': 'application/x-www-form-urlencoded' };

  before(async () => {
    const api = new Api(home);
    await api.made('POST', '/users', { name: 'bob', password: 'the password of bob' });
    for (const [subject, role, repositories] of [
      ['user:bob', 'writer', 'own/*'],
      ['anonymous', 'reader', 'public/*'],
    ])
      await api.made('POST', '/rules', { subject, role, repositories });
    await pushBlob(admin, 'own/app');
    await pushBlob(admin, 'public/app');
  });

  describe('challenges', () => {
    it('challenges are exactly as clients parse them', async () => {
      const { status, headers } = await anonymous.send('GET', '/v2/own/app/tags/list');
      const { host } = new URL(home.url);
      assert.equal(status, 401);
      assert.equal(
        headers.get('WWW-Authenticate'),
        `Bearer realm="${home.url}/token",service="${host}",scope="repository:own/app:pull"`,
      );
      assert.equal(headers.get('Content-Type'), 'application/json');
    });

    it('challenges come for /v2/ without a token, although there are public repositories', async () => {
      const { status, challenge, code } = await anonymous.send('GET', '/v2/');
      assert.deepEqual([status, code, Object.keys(challenge)], [401, 'UNAUTHORIZED', ['realm', 'service']]);
      const authorization = await anonymous.bearer();
      await anonymous.must(200, 'GET', '/v2/', { authorization });
    });

    for (const authorization of [`Basic ${btoa('bob:wrong')}`, `Basic ${btoa('missing:wrong')}`])
      it(`challenges come for wrong credentials on /v2/: ${atob(authorization.slice(6))}`, async () => {
        const { status, challenge, message } = await anonymous.send('GET', '/v2/', { authorization });
        assert.deepEqual([status, challenge.error], [401, 'invalid_token']);
        assert.match(message, /wrong name or password/);
      });

    it('challenges lead to the host that was asked for', async () => {
      const { challenge } = await anonymous.send('GET', '/v2/');
      assert.deepEqual(challenge, { realm: `${home.url}/token`, service: new URL(home.url).host });
    });
  });

  describe('GET /token', () => {
    const rows: { name: string; as?: Visitor; scopes: string[]; want: Record<string, string[]> }[] = [
      {
        name: 'what was asked for',
        scopes: ['repository:own/app:pull,push'],
        want: { 'own/app': ['pull', 'push'] },
      },
      {
        name: 'a part of it',
        scopes: ['repository:own/app:pull,push,delete'],
        want: { 'own/app': ['pull', 'push'] },
      },
      {
        name: 'all that there is, for *',
        scopes: ['repository:own/app:*'],
        want: { 'own/app': ['pull', 'push'] },
      },
      { name: 'nothing of what is not given', scopes: ['repository:other/app:pull'], want: {} },
      { name: 'nothing where nothing is asked for', scopes: [], want: {} },
      {
        name: 'several scopes in one',
        scopes: ['repository:own/a:pull repository:public/b:pull,push'],
        want: { 'own/a': ['pull'], 'public/b': ['pull'] },
      },
      {
        name: 'several scopes, repeated',
        scopes: ['repository:own/a:pull', 'repository:own/b:push', 'repository:own/a:push'],
        want: { 'own/a': ['pull', 'push'], 'own/b': ['push'] },
      },
      { name: 'the class of a type', scopes: ['repository(plugin):own/a:pull'], want: { 'own/a': ['pull'] } },
      {
        name: 'nothing of unknown types and actions',
        scopes: ['registry:base:*', 'other:own/a:pull', 'repository:own/a:dance', 'nonsense', 'a:b'],
        want: {},
      },
      {
        name: 'anonymous, of what is public',
        as: anonymous,
        scopes: ['repository:public/a:pull,push'],
        want: { 'public/a': ['pull'] },
      },
      { name: 'anonymous, of the rest', as: anonymous, scopes: ['repository:own/app:pull'], want: {} },
      {
        name: 'the catalog, for the admin',
        as: admin,
        scopes: ['registry:catalog:*'],
        want: { catalog: ['*'] },
      },
      { name: 'no catalog for others', scopes: ['registry:catalog:*'], want: {} },
      {
        name: 'a user of the htpasswd file, $2y$',
        as: new Visitor(home, 'old:the password of the file'),
        scopes: ['repository:a:*'],
        want: { a: ['pull', 'push', 'delete'] },
      },
      {
        name: 'a user of the htpasswd file, $2b$',
        as: new Visitor(home, 'older:the password of the file'),
        scopes: ['repository:a:pull', 'registry:catalog:*'],
        want: { a: ['pull'], catalog: ['*'] },
      },
    ];
    for (const { name, as = bob, scopes, want } of rows)
      it(`GET /token gives ${name}`, async () => {
        const query = new URLSearchParams([
          ['service', 'registry'],
          ['client_id', 'docker'],
          ['account', 'x'],
          ['offline_token', 'true'],
          ...scopes.map((scope) => ['scope', scope]),
        ]);
        const { text } = await as.must(200, 'GET', `/token?${query}`);
        assert.deepEqual(await accessOf(JSON.parse(text).token), want);
        assert.equal(JSON.parse(text).refresh_token, undefined);
      });

    it('GET /token answers with both names of the token, its lifetime and its time of issue, and forbids caches to keep it', async () => {
      const { text, headers } = await bob.must(200, 'GET', '/token?scope=repository:own/app:pull');
      const { token, access_token, expires_in, issued_at } = JSON.parse(text);
      assert.equal(token, access_token);
      assert.ok(expires_in >= 60 && expires_in <= 300);
      assert.match(issued_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
      assert.ok(Math.abs(Date.parse(issued_at) - Date.now()) < 60_000);
      assert.equal(headers.get('Cache-Control'), 'no-store');
    });

    it('GET /token refuses other methods', async () => {
      const { headers } = await bob.must(405, 'PUT', '/token');
      assert.equal(headers.get('Allow'), 'GET, POST');
    });
  });

  describe('POST /token', () => {
    it('POST /token takes a password', async () => {
      const scope = 'repository:own/app:pull,push repository:own/b:pull';
      const { status, text } = await form({
        grant_type: 'password',
        username: 'bob',
        password: 'the password of bob',
        service: 'x',
        client_id: 'containerd',
        scope,
      });
      assert.equal(status, 200, text);
      assert.deepEqual(await accessOf(JSON.parse(text).access_token), {
        'own/app': ['pull', 'push'],
        'own/b': ['pull'],
      });
    });

    const refused: [string, Record<string, string>, number, RegExp][] = [
      [
        'a refresh token',
        { grant_type: 'refresh_token', refresh_token: 'x' },
        400,
        /there are no refresh tokens/,
      ],
      ['no grant', {}, 400, /grant_type/],
      [
        'a wrong password',
        { grant_type: 'password', username: 'bob', password: 'wrong' },
        401,
        /wrong name or password/,
      ],
      ['no password', { grant_type: 'password' }, 401, /wrong name or password/],
      [
        'a form without an end',
        { grant_type: 'password', username: 'bob', password: 'the password of bob', x: 'x'.repeat(100_000) },
        400,
        /grant_type/,
      ],
    ];
    for (const [name, fields, want, says] of refused)
      it(`POST /token refuses ${name}`, async () => {
        const { status, message, text } = await form(fields);
        assert.equal(status, want, text);
        assert.match(message, says);
        assert.doesNotMatch(text, /"(?:access_)?token"/);
      });
  });

  it('wrong credentials are nowhere taken for no credentials', async () => {
    for (const authorization of [
      `Basic ${btoa('bob:wrong')}`,
      `Basic ${btoa('bob')}`,
      'Basic !',
      'Bearer x',
      'x',
    ]) {
      const { status, text } = await anonymous.send('GET', '/token?scope=repository:public/app:pull', {
        authorization,
      });
      assert.equal(status, 401, `${authorization}: ${text}`);
    }
  });

  it('a token is signed with a published key, and says who, for whom and until when', async () => {
    const token = await bob.token('repository:own/app:pull');
    const keys = createRemoteJWKSet(new URL(`${home.url}/.well-known/jwks.json`));
    const { host } = new URL(home.url);
    const { payload } = await jwtVerify(token, keys, {
      issuer: home.url,
      audience: host,
      subject: 'user:bob',
      algorithms: ['ES256'],
      typ: 'JWT',
    });
    const { iat = 0, nbf, exp, jti } = payload;
    assert.deepEqual([nbf, exp], [iat, iat + 300]);
    assert.match(jti ?? '', /^[0-9a-f-]{36}$/);
    const other = await jwtVerify(await bob.token('repository:own/app:pull'), keys);
    assert.notEqual(other.payload.jti, jti);
    const published = JSON.parse((await anonymous.must(200, 'GET', '/.well-known/jwks.json')).text);
    const { kid } = decodeProtectedHeader(token);
    const key = published.keys.find((entry: { kid: string }) => entry.kid === kid);
    assert.deepEqual(
      Object.keys(key).sort(),
      ['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y'],
      'and no private part',
    );
  });

  async function accessOf(token: string): Promise<Record<string, string[]>> {
    const { payload } = await jwtVerify(
      token,
      createRemoteJWKSet(new URL(`${home.url}/.well-known/jwks.json`)),
    );
    const access = payload.access as { type: string; name: string; actions: string[] }[];
    return Object.fromEntries(access.map(({ name, actions }) => [name, actions]));
  }
}, options);
